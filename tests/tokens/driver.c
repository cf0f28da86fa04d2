/* Reads frames from stdin and answers on stdout: vocabularies, texts and words for the sanitized tests. */
#undef malloc /* the tokenizers are compiled with these three as the functions below */
#undef calloc
#undef realloc
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nfc.h"
#include "pretokenize.h"
#include "tokens.h"
#include "unicode.h"

void *lf_test_malloc(size_t size);
void *lf_test_calloc(size_t count, size_t size);
void *lf_test_realloc(void *old, size_t size);

static uint32_t allocations_left = UINT32_MAX;

static int refuse(void)
{
    if (allocations_left && allocations_left != UINT32_MAX) return !--allocations_left;
    return !allocations_left;
}

void *lf_test_malloc(size_t size)
{
    return refuse() ? NULL : malloc(size);
}

void *lf_test_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : calloc(count, size);
}

void *lf_test_realloc(void *old, size_t size)
{
    return refuse() ? NULL : realloc(old, size);
}

static void *read_bytes(size_t size)
{
    void *data = malloc(size ? size : 1); /* exactly as big as the data, so that the sanitizer sees a byte too many */
    if (!data || fread(data, 1, size, stdin) != size) exit(3);
    return data;
}

static uint32_t read_u32(void)
{
    uint32_t *data = read_bytes(4), value = *data;
    free(data);
    return value;
}

static void write_u32(uint32_t value)
{
    fwrite(&value, 4, 1, stdout);
}

static lf_vocab_array read_array(void)
{
    const uint32_t count = read_u32(), nbytes = read_u32();
    void *data = read_bytes(nbytes);
    if (nbytes) return (lf_vocab_array){data, count, nbytes};
    free(data);
    return (lf_vocab_array){NULL, count, 0};
}

/* Write out every token there is, and the ids next to them. */
static void write_all(const lf_vocab *vocab, int32_t count)
{
    lf_token_bytes bytes = {NULL, 0, 0};
    for (int32_t id = -1; id <= count; id++)
        if (lf_detokenize(vocab, &id, 1, LF_SHOW_SPECIAL, &bytes) == LF_TOKENS_MEMORY) break;
    lf_token_bytes_free(&bytes);
}

/* V: six numbers and four arrays; answers with the error code. */
static void open_vocab(lf_vocab_source *source, lf_vocab **vocab)
{
    lf_vocab_array *arrays[] = {&source->tokens, &source->merges, &source->scores, &source->types};
    int32_t *numbers[] = {&source->model, &source->pre, &source->unknown, &source->space_prefix, &source->trim_spaces};
    lf_vocab_close(*vocab);
    for (int i = 0; i < 4; i++) free((void *)arrays[i]->data);
    source->width = read_u32();
    for (int i = 0; i < 5; i++) *numbers[i] = (int32_t)read_u32();
    for (int i = 0; i < 4; i++) *arrays[i] = read_array();
    const int error = lf_vocab_open(source, vocab);
    if (!error) write_all(*vocab, (int32_t)source->tokens.count);
    write_u32((uint32_t)error);
}

/* T: flags and a text; answers with the error code, the ids, and the bytes that they stand for. */
static void encode(const lf_vocab *vocab)
{
    lf_token_ids ids = {NULL, 0, 0};
    lf_token_bytes bytes = {NULL, 0, 0};
    const uint32_t flags = read_u32(), size = read_u32();
    void *text = read_bytes(size);
    int error = lf_tokenize(vocab, text, size, flags, &ids);
    if (!error) error = lf_detokenize(vocab, ids.data, ids.count, LF_SHOW_SPECIAL | LF_AT_START, &bytes);
    write_u32((uint32_t)error);
    write_u32((uint32_t)ids.count);
    if (ids.count) fwrite(ids.data, 4, ids.count, stdout);
    write_u32((uint32_t)bytes.count);
    if (bytes.count) fwrite(bytes.data, 1, bytes.count, stdout);
    lf_token_ids_free(&ids);
    lf_token_bytes_free(&bytes);
    free(text);
}

/* S: the number of a pre-tokenizer and valid text; answers with the ends of its words. */
static void split(void)
{
    const int32_t number = (int32_t)read_u32();
    const uint32_t size = read_u32();
    uint8_t *text = read_bytes(size);
    uint32_t count = 0, *ends = malloc(4 * (size_t)size + 4);
    lf_pre_words words;
    const uint8_t *word, *end;
    if (!ends || lf_utf8_valid(text, size) != size) exit(4);
    lf_pre_begin(&words, number, text, text + size);
    while ((word = lf_pre_next(&words, &end))) {
        if (end <= word || word != text + (count ? ends[count - 1] : 0)) exit(5);
        ends[count++] = (uint32_t)(end - text);
    }
    write_u32(count);
    fwrite(ends, 4, count, stdout);
    free(ends);
    free(text);
}

/* N: valid text; answers with its normal form C, or as it is where the quick check finds nothing to do. */
static void compose(void)
{
    lf_token_bytes bytes = {NULL, 0, 0};
    const uint32_t size = read_u32();
    uint8_t *text = read_bytes(size);
    if (lf_utf8_valid(text, size) != size || lf_nfc(text, size, &bytes)) exit(6);
    const int same = bytes.count == size && !memcmp(bytes.data, text, size);
    if (lf_nfc_quick(text, size) && !same) exit(7);
    write_u32((uint32_t)bytes.count);
    fwrite(bytes.data, 1, bytes.count, stdout);
    lf_token_bytes_free(&bytes);
    free(text);
}

int main(void)
{
    lf_vocab_source source;
    lf_vocab *vocab = NULL;
    memset(&source, 0, sizeof source);
    for (int command; (command = getchar()) != EOF; fflush(stdout)) {
        if (command == 'V') open_vocab(&source, &vocab);
        else if (command == 'T') encode(vocab);
        else if (command == 'S') split();
        else if (command == 'N') compose();
        else if (command == 'F') allocations_left = read_u32(); /* so many less one succeed; all from UINT32_MAX on */
        else return 2;
    }
    lf_vocab_close(vocab);
    free((void *)source.tokens.data);
    free((void *)source.merges.data);
    free((void *)source.scores.data);
    free((void *)source.types.data);
    return 0;
}
