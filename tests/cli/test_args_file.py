"""The `.args` member: both generations of such files, and where the user's arguments go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafile.args_file import USER, merge, parse, written
from llamafile.errors import LlamafileError


def words(text, typed=("TYPED",), **environment):
    data = text if isinstance(text, bytes) else text.encode()
    return merge(parse(data, environment), list(typed))[0]


# The README's form: one argument a line.

def test_readme_example():
    text = "-m\nllava.gguf\n--mmproj\nproj.gguf\n--host\n0.0.0.0\n-ngl\n9999\n...\n"
    assert words(text, ["-p", "hi"]) == ["-m", "llava.gguf", "--mmproj", "proj.gguf", "--host", "0.0.0.0", "-ngl",
                                         "9999", "-p", "hi"]


def test_without_ellipsis_the_user_comes_last():
    assert words("-x\n") == ["-x", "TYPED"]
    assert words("") == ["TYPED"]


def test_ellipsis_in_the_middle():
    assert words("-a\n...\n-b\n") == ["-a", "TYPED", "-b"]


def test_a_second_ellipsis_adds_nothing():
    assert words("...\n-a\n...\n") == ["TYPED", "-a"]


def test_ellipsis_without_arguments():
    assert words("-a\n...\n-b\n", []) == ["-a", "-b"]


def test_spaces_are_kept():
    assert words("--in-prefix\n \n-p\n  two  spaces \n", []) == ["--in-prefix", " ", "-p", "  two  spaces "]


def test_backslash_n_is_a_newline_and_no_other_escape_exists():
    assert words("-r\n}\\n\n-p\n\\tx\\\\\n", []) == ["-r", "}\n", "-p", "\\tx\\\\"]


def test_windows_line_ends():
    found = words("-x\r\nhell o\r\n-y\r\nworld\r\n...\r\n", ["yo", "dawg"])
    assert found == ["-x", "hell o", "-y", "world", "yo", "dawg"]


def test_last_line_needs_no_newline():
    assert words("-m\nmodel.gguf", []) == ["-m", "model.gguf"]
    assert words("-a\n...") == ["-a", "TYPED"]


def test_empty_lines_separate():
    assert words("\n-a\n\n\n-b\n\n", []) == ["-a", "-b"]


def test_dots_that_are_no_place():
    assert words(".\n..\n....\n...x\n", []) == [".", "..", "....", "...x"]


def test_byte_order_mark_and_odd_bytes():
    assert words(b"\xef\xbb\xbf-p\nna\xc3\xafve \xff\n", []) == ["-p", "naïve \udcff"]


def test_a_plain_line_is_one_argument_whatever_is_in_it():
    line = "Say 'hi' to \"them\" # and $HOME \\x"
    assert words(f"-p\n{line}\n", [], HOME="/root") == ["-p", line]


# The newer form: words in the manner of a shell, in lines that show that they are such.

def test_flag_and_value_in_one_line():
    assert words("-m /zip/model.gguf\n--temp 0 -n 5\n", []) == ["-m", "/zip/model.gguf", "--temp", "0", "-n", "5"]


def test_comments():
    assert words("# a comment\n-a b # hello there\n-c#d e\n", []) == ["-a", "b", "-c#d", "e"]


def test_single_quotes_keep_everything():
    assert words("-p 'hi \\n $HOME \"x\"'# \n", [], HOME="/root") == ["-p", 'hi \\n $HOME "x"#']


def test_double_quotes_have_escapes_as_in_c():
    text = '-p "\\a\\b\\t\\n\\v\\f\\r\\e\\11 \\111 \\x41\\x4a \\"\\\\ \\q \\$"\n'
    assert words(text, []) == ["-p", "\a\b\t\n\v\f\r\x1b\t I AJ \"\\ q $"]


def test_bytes_by_number_join_to_characters():
    assert words('-p "\\xc3\\xa9 \\303\\251"\n', []) == ["-p", "é é"]
    assert words('-p "\\xff"\n', []) == ["-p", "\udcff"]


def test_quoted_lines():
    assert words("'one argument' \"two\"\n", []) == ["one argument", "two"]
    assert words("''\n", []) == [""]


def test_quotes_go_over_the_end_of_a_line():
    assert words('-p "\nhello"\n-n 1\n', []) == ["-p", "\nhello", "-n", "1"]
    assert words('-p "\\\nhello"\n', []) == ["-p", "hello"]
    assert words("-p 'a\nb' -n 2\n", []) == ["-p", "a\nb", "-n", "2"]


def test_backslash_joins_lines_and_keeps_characters():
    assert words("-a \\\nb\n-c d\\ e\n", []) == ["-a", "b", "-c", "d e"]
    assert words("-a x\\\ny\n", []) == ["-a", "xy"]
    assert words("-a \\\r\nb\r\n", []) == ["-a", "b"]
    assert words("-a b\\", []) == ["-a", "b\\"]


def test_variables_are_not_split():
    assert words("-a $foo x${foo}x\n", [], foo="b c") == ["-a", "b c", "xb cx"]
    assert words("-a \"$foo\" '$foo' \\$foo\n", [], foo="b c") == ["-a", "b c", "$foo", "$foo"]
    assert words("-a $ ${foo $-x\n", [], foo="b") == ["-a", "$", "${foo", "$-x"]


def test_unset_variables_are_nothing():
    assert words("-a $gone b\"$gone\"\n", []) == ["-a", "b"]
    assert words('-a "$gone"\n', []) == ["-a", ""]


def test_ellipsis_as_a_word():
    assert words("-m /zip/m.gguf ... -n 5\n") == ["-m", "/zip/m.gguf", "TYPED", "-n", "5"]
    assert words("-a '...' \"...\" \\...\n", []) == ["-a", "...", "...", "..."]
    assert words("-a ...") == ["-a", "TYPED"]
    assert words("-a ...x\n", []) == ["-a", "...x"]


@pytest.mark.parametrize("text", ["-p 'open\n-n 1\n", '-a\n"open', "'"])
def test_open_quotes_are_an_error_that_names_the_line(text):
    with pytest.raises(LlamafileError, match=r"^\.args: the quote ['\"] in line \d is not closed; ") as caught:
        words(text)
    number = 2 if text.startswith("-a\n") else 1
    assert f"in line {number} " in str(caught.value)


def test_who_said_what():
    merged, of_file = merge(parse(b"-a\n...\n-b\n"), ["x", "y"])
    assert merged == ["-a", "x", "y", "-b"]
    assert of_file == {0, 3}


def test_place_of_the_user_is_no_word():
    assert parse(b"...") == [USER]


@given(st.text(alphabet="abc#'\"$.\\{} \r\n-\t", max_size=128))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse(text.encode(), {"a": "1"})
    except LlamafileError as wrong:
        assert "not closed" in str(wrong)
    else:
        assert all(item is USER or isinstance(item, str) for item in found)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data):
    try:
        parse(data, {})
    except LlamafileError as wrong:
        assert "not closed" in str(wrong)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
                | st.text(alphabet="-# '\"$\\n\n\r.\ufeff\t", max_size=8)))
def test_what_is_written_is_read_again(given_words):
    expected = [USER if word == "..." else word for word in given_words]
    if USER not in expected:
        expected.append(USER)
    assert parse(written(given_words), {}) == expected
