/* Pre-tokenizers: each matcher below is one pattern, written as a machine that reads every character about once. */
#include "pretokenize.h"

#include <string.h>

#include "tokens.h"
#include "unicode.h"

typedef const uint8_t *lf_at;

static inline unsigned lf_flags(lf_at at, lf_at end)
{
    return at < end ? lf_utf8_flags(at) : 0;
}

/* Go on while characters have one of the flags. */
static inline lf_at lf_while(lf_at at, lf_at end, unsigned mask)
{
    while (at < end && lf_utf8_flags(at) & mask) at += lf_utf8_size(*at);
    return at;
}

/* Go on while characters have none of the flags. */
static inline lf_at lf_until(lf_at at, lf_at end, unsigned mask)
{
    while (at < end && !(lf_utf8_flags(at) & mask)) at += lf_utf8_size(*at);
    return at;
}

static inline lf_at lf_line_ends(lf_at at, lf_at end, int slash)
{
    while (at < end && (*at == '\n' || *at == '\r' || (slash && *at == '/'))) at++;
    return at;
}

/* 's|'t|'re|'ve|'m|'ll|'d, in either case if `fold`; U+017F is the one other character that folds to one of them. */
static lf_at lf_contraction(lf_at at, lf_at end, int fold)
{
    const uint8_t bit = fold ? 0x20 : 0;
    if (end - at < 2 || *at != '\'') return at;
    const uint8_t a = at[1] | bit, b = end - at > 2 ? at[2] | bit : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return at + 3;
    if (fold && end - at > 2 && at[1] == 0xC5 && at[2] == 0xBF) return at + 3;
    return at;
}

/* \s+(?!\S)|\s+, and before these \s*[\r\n]+ if `lines`. */
static lf_at lf_spaces(lf_at at, lf_at end, int lines)
{
    lf_at to = at, last = at, line = NULL;
    for (; to < end && lf_utf8_flags(to) & LF_SPACE; to += lf_utf8_size(*to)) {
        last = to;
        if (*to == '\n' || *to == '\r') line = to + 1;
    }
    if (lines && line) return line;
    return to == end || last == at ? to : last;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static lf_at lf_match_gpt2(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    const lf_at contraction = lf_contraction(at, end, 0);
    if (contraction > at) return contraction;
    const lf_at word = at + (*at == ' ');
    const unsigned flags = lf_flags(word, end);
    if (word == end || flags & LF_SPACE) return lf_spaces(at, end, 0);
    if (flags & LF_LETTER) return lf_while(word, end, LF_LETTER);
    if (flags & LF_DIGIT) return lf_while(word, end, LF_DIGIT);
    return lf_until(word, end, LF_SPACE | LF_LETTER | LF_DIGIT);
}

/* \p{N}{1,most} */
static inline lf_at lf_digits(lf_at at, lf_at end, int most)
{
    for (; most && lf_flags(at, end) & LF_DIGIT; most--) at += lf_utf8_size(*at);
    return at;
}

/* [^\r\n\p{L}\p{N}]? : return where what follows it begins. */
static inline lf_at lf_prefix(lf_at at, unsigned flags)
{
    return flags & (LF_LETTER | LF_DIGIT) || *at == '\r' || *at == '\n' ? at : at + lf_utf8_size(*at);
}

/* \p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ , with [\r\n/]* if `slash`. */
static inline lf_at lf_rest(lf_at at, lf_at end, int digits, int slash)
{
    const lf_at number = lf_digits(at, end, digits);
    if (number > at) return number;
    const lf_at mark = at + (*at == ' ');
    if (mark < end && !(lf_utf8_flags(mark) & (LF_SPACE | LF_LETTER | LF_DIGIT)))
        return lf_line_ends(lf_until(mark, end, LF_SPACE | LF_LETTER | LF_DIGIT), end, slash);
    return lf_spaces(at, end, 1);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+| and the rest with so many digits */
static inline lf_at lf_match_cl100k(lf_at at, lf_at end, int digits)
{
    const lf_at contraction = lf_contraction(at, end, 1);
    if (contraction > at) return contraction;
    const lf_at word = lf_prefix(at, lf_utf8_flags(at));
    if (lf_flags(word, end) & LF_LETTER) return lf_while(word, end, LF_LETTER);
    return lf_rest(at, end, digits, 0);
}

static lf_at lf_match_llama3(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_match_cl100k(at, end, 3);
}

static lf_at lf_match_qwen2(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_match_cl100k(at, end, 1);
}

/* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ ; the classes overlap, so where no small letter follows
   the run of the first, the run's last character that is also of the second ends the match. */
static lf_at lf_camel(lf_at at, lf_at end)
{
    const unsigned first = LF_UPPER | LF_UNCASED | LF_MARK, second = LF_LOWER | LF_UNCASED | LF_MARK;
    lf_at to = at, both = at;
    unsigned flags;
    for (; (flags = lf_flags(to, end)) & first; ) {
        to += lf_utf8_size(*to);
        if (flags & second) both = to;
    }
    return flags & second ? lf_while(to, end, second) : both;
}

/* [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+
   |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]* , or `at` where neither matches.
   A mark is both prefix and part of a word, so a word may begin with it either way. */
static lf_at lf_camel_word(lf_at at, lf_at end)
{
    const unsigned flags = lf_utf8_flags(at);
    const lf_at word = lf_prefix(at, flags);
    lf_at to = lf_camel(word, end);
    if (to > word) return to;
    if (flags & LF_MARK) return lf_camel(at, end);
    to = lf_while(word, end, LF_UPPER);
    return to > word ? to : at;
}

/* The words above, then \p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static lf_at lf_match_tekken(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    const lf_at word = lf_camel_word(at, end);
    return word > at ? word : lf_rest(at, end, 1, 1);
}

/* The same with (?i:'s|'t|'re|'ve|'m|'ll|'d)? behind a word, and \p{N}{1,3} */
static lf_at lf_match_o200k(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    const lf_at word = lf_camel_word(at, end);
    return word > at ? lf_contraction(word, end, 1) : lf_rest(at, end, 3, 1);
}

/* \p{N} */
static lf_at lf_match_digit(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_digits(at, end, 1);
}

/* \p{N}{1,3} */
static lf_at lf_match_digits3(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_digits(at, end, 3);
}

/* \p{N}+ */
static lf_at lf_match_number(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_while(at, end, LF_DIGIT);
}

/* [0-9][0-9][0-9] */
static lf_at lf_match_ascii_digits3(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    if (end - at < 3) return at;
    for (int i = 0; i < 3; i++)
        if (at[i] < '0' || at[i] > '9') return at;
    return at + 3;
}

/* [\r\n] */
static lf_at lf_match_line_end(lf_at at, lf_at end, lf_at *next)
{
    (void)end;
    (void)next;
    return at + (*at == '\r' || *at == '\n');
}

/* \s+$ , in a text without line ends; none of a run's spaces matches where its first does not. */
static lf_at lf_match_last_spaces(lf_at at, lf_at end, lf_at *next)
{
    const lf_at to = lf_while(at, end, LF_SPACE);
    if (to == end || to == at) return to;
    *next = to;
    return at;
}

/* \s? and then [flags]+ */
static inline lf_at lf_spaced(lf_at at, lf_at end, unsigned mask)
{
    const lf_at word = lf_utf8_flags(at) & LF_SPACE ? at + lf_utf8_size(*at) : at;
    const lf_at to = lf_while(word, end, mask);
    return to > word ? to : at;
}

/* \s?\p{L}+ */
static lf_at lf_match_spaced_letters(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_spaced(at, end, LF_LETTER);
}

/* \s?\p{P}+ */
static lf_at lf_match_spaced_punctuation(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_spaced(at, end, LF_PUNCTUATION);
}

static int lf_in_ranges(uint32_t code, const uint32_t (*ranges)[2], size_t count)
{
    size_t low = 0;
    while (low < count) {
        const size_t middle = low + (count - low) / 2;
        if (code > ranges[middle][1])
            low = middle + 1;
        else
            count = middle;
        if (code >= ranges[middle][0] && code <= ranges[middle][1]) return 1;
    }
    return 0;
}

static lf_at lf_while_ranges(lf_at at, lf_at end, const uint32_t (*ranges)[2], size_t count)
{
    while (at < end && lf_in_ranges(lf_utf8_code(at), ranges, count)) at += lf_utf8_size(*at);
    return at;
}

#define LF_RANGES(ranges) ranges, sizeof(ranges) / sizeof(ranges)[0]

/* The letters with case that DeepSeek LLM's pattern lists. */
static const uint32_t lf_cased_letters[][2] = {
    {0x41, 0x5A}, {0x61, 0x7A}, {0xB5, 0xB5}, {0xC0, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x1BA}, {0x1BC, 0x1BF},
    {0x1C4, 0x293}, {0x295, 0x2AF}, {0x370, 0x373}, {0x376, 0x376}, {0x377, 0x377}, {0x37B, 0x37D}, {0x37F, 0x37F},
    {0x386, 0x386}, {0x388, 0x38A}, {0x38C, 0x38C}, {0x38E, 0x3A1}, {0x3A3, 0x3F5}, {0x3F7, 0x481}, {0x48A, 0x52F},
    {0x531, 0x556}, {0x10A0, 0x10C5}, {0x13A0, 0x13F5}, {0x13F8, 0x13FD}, {0x1C90, 0x1CBA}, {0x1CBD, 0x1CBF},
    {0x1D00, 0x1D2B}, {0x1D6B, 0x1D77}, {0x1D79, 0x1D9A}, {0x1E00, 0x1F15}, {0x1F18, 0x1F1D}, {0x1F20, 0x1F45},
    {0x1F48, 0x1F4D}, {0x1F50, 0x1F57}, {0x1F59, 0x1F59}, {0x1F5B, 0x1F5B}, {0x1F5D, 0x1F5D}, {0x1F5F, 0x1F7D},
    {0x1F80, 0x1FB4}, {0x1FB6, 0x1FBC}, {0x1FBE, 0x1FBE}, {0x1FC2, 0x1FC4}, {0x1FC6, 0x1FCC}, {0x1FD0, 0x1FD3},
    {0x1FD6, 0x1FDB}, {0x1FE0, 0x1FEC}, {0x1FF2, 0x1FF4}, {0x1FF6, 0x1FFC}, {0x2102, 0x2102}, {0x2107, 0x2107},
    {0x210A, 0x2113}, {0x2115, 0x2115}, {0x2119, 0x211D}, {0x2124, 0x2124}, {0x2126, 0x2126}, {0x2128, 0x2128},
    {0x212A, 0x212D}, {0x212F, 0x2134}, {0x2139, 0x2139}, {0x213C, 0x213F}, {0x2145, 0x2149}, {0x214E, 0x214E},
    {0x2183, 0x2183}, {0x2184, 0x2184}, {0x2C00, 0x2C7B}, {0x2C7E, 0x2CE4}, {0x2CEB, 0x2CEE}, {0x2CF2, 0x2CF2},
    {0x2CF3, 0x2CF3}, {0xA640, 0xA66D}, {0xA680, 0xA69B}, {0xA722, 0xA76F}, {0xA771, 0xA787}, {0xA78B, 0xA78E},
    {0xAB70, 0xABBF}, {0xFB00, 0xFB06}, {0xFB13, 0xFB17}, {0xFF21, 0xFF3A}, {0xFF41, 0xFF5A}, {0x10400, 0x1044F},
    {0x104B0, 0x104D3}, {0x104D8, 0x104FB}, {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF},
    {0x1E900, 0x1E943},
};

/* [!-/:-~！-／：-～‘-‟　-。] */
static const uint32_t lf_deepseek_marks[][2] = {
    {0x21, 0x2F}, {0x3A, 0x7E}, {0x2018, 0x201F}, {0x3000, 0x3002}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E},
};

/* [一-龥ࠀ-一가-퟿] */
static const uint32_t lf_deepseek_east[][2] = {{0x800, 0x9FA5}, {0xAC00, 0xD7FF}};

/* [一-龥぀-ゟ゠-ヿ] */
static const uint32_t lf_deepseek_han_kana[][2] = {{0x3040, 0x30FF}, {0x4E00, 0x9FA5}};

/* \s?[cased letters]+ */
static lf_at lf_match_spaced_cased(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    const lf_at word = lf_utf8_flags(at) & LF_SPACE ? at + lf_utf8_size(*at) : at;
    const lf_at to = lf_while_ranges(word, end, LF_RANGES(lf_cased_letters));
    return to > word ? to : at;
}

/* \s?[marks]+ ; the ideographic space is both. */
static lf_at lf_match_spaced_marks(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    const lf_at word = lf_utf8_flags(at) & LF_SPACE ? at + lf_utf8_size(*at) : at;
    const lf_at to = lf_while_ranges(word, end, LF_RANGES(lf_deepseek_marks));
    return to > word ? to : lf_while_ranges(at, word, LF_RANGES(lf_deepseek_marks));
}

static lf_at lf_match_east(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_while_ranges(at, end, LF_RANGES(lf_deepseek_east));
}

static lf_at lf_match_han_kana(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_while_ranges(at, end, LF_RANGES(lf_deepseek_han_kana));
}

static int lf_ascii_letter(lf_at at, lf_at end)
{
    return at < end && (*at | 0x20) >= 'a' && (*at | 0x20) <= 'z';
}

/* [!-/:-@[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static lf_at lf_match_deepseek3(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    const unsigned flags = lf_utf8_flags(at);
    const int mark = flags & (LF_PUNCTUATION | LF_SYMBOL);
    lf_at to = at + 1;
    if (*at < 0x80 && mark && lf_ascii_letter(to, end)) {
        while (lf_ascii_letter(to, end)) to++;
        return to;
    }
    const int prefix = !mark && !(flags & (LF_LETTER | LF_MARK)) && *at != '\r' && *at != '\n';
    const lf_at word = prefix ? at + lf_utf8_size(*at) : at;
    if (lf_flags(word, end) & (LF_LETTER | LF_MARK)) return lf_while(word, end, LF_LETTER | LF_MARK);
    to = lf_while(at + (*at == ' '), end, LF_PUNCTUATION | LF_SYMBOL);
    if (to > at + (*at == ' ')) return lf_line_ends(to, end, 0);
    return flags & LF_SPACE ? lf_spaces(at, end, 1) : at;
}

/* [\p{P}$+<=>^~|]+ , with ` too if `grave` */
static inline lf_at lf_falcon(lf_at at, lf_at end, const char *more)
{
    while (at < end && (lf_utf8_flags(at) & LF_PUNCTUATION || (*at && *at < 0x80 && strchr(more, *at))))
        at += lf_utf8_size(*at);
    return at;
}

static lf_at lf_match_falcon(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_falcon(at, end, "$+<=>^~|`");
}

static lf_at lf_match_default(lf_at at, lf_at end, lf_at *next)
{
    (void)next;
    return lf_falcon(at, end, "$+<=>^~|");
}

enum { LF_WHOLE_WORDS = 1, LF_ADD_BOS = 2, LF_COMPOSES = 4 };

typedef struct {
    const char *name;
    unsigned rules;
    lf_matcher matchers[LF_PRE_PASSES];
} lf_pre;

static const lf_pre lf_pres[] = {
    {"default", 0, {lf_match_default, lf_match_gpt2, lf_match_number, lf_match_ascii_digits3}},
    {"gpt-2", 0, {lf_match_gpt2}},
    {"gpt2", 0, {lf_match_gpt2}},
    {"phi-2", 0, {lf_match_gpt2}},
    {"mpt", 0, {lf_match_gpt2}},
    {"olmo", 0, {lf_match_gpt2}},
    {"llama-bpe", LF_WHOLE_WORDS | LF_ADD_BOS, {lf_match_llama3}},
    {"llama3", LF_WHOLE_WORDS | LF_ADD_BOS, {lf_match_llama3}},
    {"llama-v3", LF_WHOLE_WORDS | LF_ADD_BOS, {lf_match_llama3}},
    {"falcon3", LF_WHOLE_WORDS | LF_ADD_BOS, {lf_match_llama3}},
    {"dbrx", 0, {lf_match_llama3}},
    {"smaug-bpe", 0, {lf_match_llama3}},
    {"glm4", 0, {lf_match_llama3}},
    {"chatglm-bpe", 0, {lf_match_llama3}},
    {"qwen2", LF_COMPOSES, {lf_match_qwen2}},
    {"deepseek-r1-qwen", 0, {lf_match_qwen2}},
    {"stablelm2", 0, {lf_match_qwen2}},
    {"smollm", 0, {lf_match_digit, lf_match_gpt2}},
    {"starcoder", 0, {lf_match_digit, lf_match_gpt2}},
    {"refact", 0, {lf_match_digit, lf_match_gpt2}},
    {"codeshell", 0, {lf_match_digit, lf_match_gpt2}},
    {"command-r", 0, {lf_match_digit, lf_match_gpt2}},
    {"exaone", 0, {lf_match_digit, lf_match_gpt2}},
    {"falcon", 0, {lf_match_falcon, lf_match_gpt2, lf_match_ascii_digits3}},
    {"deepseek-llm", 0, {lf_match_line_end, lf_match_spaced_cased, lf_match_spaced_marks, lf_match_last_spaces,
                         lf_match_east, lf_match_digit}},
    {"deepseek-coder", 0, {lf_match_line_end, lf_match_spaced_letters, lf_match_spaced_punctuation, lf_match_east,
                           lf_match_digit}},
    {"deepseek-v3", 0, {lf_match_digits3, lf_match_han_kana, lf_match_deepseek3}},
    {"tekken", LF_WHOLE_WORDS | LF_ADD_BOS, {lf_match_tekken}},
    {"gpt-4o", 0, {lf_match_o200k}},
    {"llama4", LF_WHOLE_WORDS, {lf_match_o200k}},
};

enum { LF_PRES = sizeof lf_pres / sizeof *lf_pres };

int32_t lf_pre_number(const char *name)
{
    for (int32_t i = 0; i < LF_PRES; i++)
        if (!strcmp(lf_pres[i].name, name)) return i;
    return -1;
}

const char *lf_pre_name(int32_t number)
{
    return number >= 0 && number < LF_PRES ? lf_pres[number].name : NULL;
}

int32_t lf_pre_add_bos(int32_t number)
{
    return number >= 0 && number < LF_PRES && lf_pres[number].rules & LF_ADD_BOS;
}

int lf_pre_whole_words(int32_t number)
{
    return lf_pres[number].rules & LF_WHOLE_WORDS;
}

int lf_pre_composes(int32_t number)
{
    return lf_pres[number].rules & LF_COMPOSES;
}

void lf_pre_begin(lf_pre_words *words, int32_t number, lf_at at, lf_at end)
{
    words->matchers = lf_pres[number].matchers;
    words->passes = 0;
    while (words->passes < LF_PRE_PASSES && words->matchers[words->passes])
        words->pass[words->passes++] = (lf_pre_pass){end, end, end};
    words->pass[0] = (lf_pre_pass){at, end, at};
}

/* Return the next match or gap of one pass; NULL after the last. */
static inline lf_at lf_pre_step(lf_pre_pass *pass, lf_matcher match, lf_at *end)
{
    lf_at start = pass->held;
    if (pass->held < pass->at) {
        *end = pass->held = pass->at;
        return start;
    }
    lf_at at = start;
    while (at < pass->end) {
        lf_at next = at + lf_utf8_size(*at);
        const lf_at to = match(at, pass->end, &next);
        if (to > at) {
            pass->held = at > start ? at : to;
            pass->at = to;
            *end = pass->held;
            return start;
        }
        at = next;
    }
    pass->held = pass->at = *end = at;
    return at > start ? start : NULL;
}

lf_at lf_pre_next(lf_pre_words *words, lf_at *end)
{
    int level = words->passes - 1;
    for (;;) {
        const lf_at start = lf_pre_step(&words->pass[level], words->matchers[level], end);
        if (!start) {
            if (!level--) return NULL;
        } else if (++level == words->passes) {
            return start;
        } else {
            words->pass[level] = (lf_pre_pass){start, *end, start};
        }
    }
}
