/* The functions of the formats that Python calls: whole rows, of any format by its id. */
#ifndef LF_QUANTS_H
#define LF_QUANTS_H
#include <stdint.h>

/* cdef-begin */
enum { LF_UNKNOWN_FORMAT = -1, LF_BROKEN_BLOCK = -2 };

/* Decode n elements; return 0, or LF_UNKNOWN_FORMAT, or LF_BROKEN_BLOCK where n does not fill whole blocks. */
int lf_decode_rows(int format, const void *src, float *dst, int64_t n);

/* Encode n elements and return n; or write nothing and return the index of the first element that the format cannot
   hold (no finite number, or too large); or an error as above. */
int64_t lf_encode_rows(int format, const float *src, void *dst, int64_t n);

/* Lay `panels` panels of rows of `blocks` blocks out, or with `back` make plain rows of them again; 0 or LF_UNKNOWN_FORMAT. The
   format's id may be that of either form. */
int lf_lay_out(int format, const void *src, void *dst, int64_t panels, int64_t blocks, int back);

/* Decode the n elements of one row of a panel; 0 or an error as above. */
int lf_decode_laid_row(int format, const void *panel, int row, float *dst, int64_t n);
/* cdef-end */
#endif
