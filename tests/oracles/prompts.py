"""Ten prompts of different kinds whose greedy continuations by llama.cpp are kept under data/."""

from __future__ import annotations

_LETTER = """Dear Marta,

the harbour froze last night. I had not believed the old pilot when he said that it would, because the wind had been
from the south for a week and the gulls were still sitting on the mole as if it were April. But at four in the morning
the creaking of the boats stopped, all of them at once, and that silence woke me. When I opened the shutters the whole
basin was grey and flat like a slate that somebody has wiped with a wet sleeve, and in the middle of it, quite alone,
stood the ferryman's dog.

You asked me in your last letter what I do all day. I keep the tide book. It is less than it sounds: a page has
thirty-one lines, each line has four boxes, and in each box I write a time and a height. The gauge is an iron ladder
with brass numbers, and every number was once polished by a man named Aurelio who is said to have been in love with the
harbour master's sister, and to have polished them so that she would see them shine from her window. Now only the 2 and
the 7 are bright, because those are the ones that children touch when they climb down to look for crabs.

Yesterday the book told me something. I had added up the spring heights of forty years, more to keep warm than for any
purpose, and the sums go up: slowly, like a man who climbs a stair with a full glass in his hand. I went to the council
with it. They gave me coffee and told me"""

_CODE = '''class RingBuffer:
    """A queue of fixed size that forgets its oldest items."""

    def __init__(self, size):
        self.items = [None] * size
        self.start = 0
        self.count = 0

    def push(self, item):
        """Add an item; where the buffer is full the oldest one goes."""
'''

_TABLE = """| planet | moons | day in hours | discovered |
|---|---|---|---|
| Mercury | 0 | 4222.6 | antiquity |
| Venus | 0 | 2802.0 | antiquity |
| Earth | 1 | 24.0 | |
| Mars | 2 | 24.7 | antiquity |
|"""

_SQL = """-- Tables: customer(id, name, city), purchase(id, customer_id, day, amount)
-- The three cities with the highest total of purchases in 2023, with the number of customers in each.
SELECT"""


def chat(*turns: tuple[str, str]) -> str:
    """Turns (role, text) in ChatML, which both models were trained on, open for the assistant's answer."""
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"


PROMPTS: dict[str, str] = {
    "fact": "The capital of France is",
    "letter": _LETTER,
    "code": _CODE,
    "chat": chat(("system", "You are a helpful assistant."),
                 ("user", "Explain in simple words why the sky is blue and sunsets are red.")),
    "dialogue": chat(("system", "You answer briefly."), ("user", "I have 3 apples and buy 4 more. How many?"),
                     ("assistant", "You have 7 apples."), ("user", "I eat two and give half of the rest away. Now?")),
    "german": "Es war einmal ein Müller, der hatte drei Söhne, eine Mühle, einen Esel und einen Kater. Als er starb,",
    "many tongues": "English: Good morning, how are you?\nFrançais : Bonjour, comment allez-vous ?\n"
                    "Español: Buenos días, ¿cómo está usted?\nРусский: Доброе утро, как дела?\n"
                    "中文：早上好，你好吗？\n日本語：",
    "list": "Ten things to check before a long bicycle tour:\n1. Tyres: no cracks, pressure as written on the side\n2.",
    "table": _TABLE,
    "sql": _SQL,
}
