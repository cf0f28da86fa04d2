/* CRC-32 as ZIP uses it, eight bytes a step: about a millisecond for all modules of a start. */
#include "archive.h"

static uint32_t lf_crc_tables[8][256];

static void lf_crc_make_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
        lf_crc_tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++) {
            uint32_t before = lf_crc_tables[t - 1][i];
            lf_crc_tables[t][i] = (before >> 8) ^ lf_crc_tables[0][before & 255];
        }
}

uint32_t lf_crc32(uint32_t crc, const uint8_t *data, size_t size) {
    if (!lf_crc_tables[0][1]) lf_crc_make_tables();
    crc = ~crc;
    for (; size >= 8; size -= 8, data += 8) {
        crc ^= (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
        crc = lf_crc_tables[7][crc & 255] ^ lf_crc_tables[6][crc >> 8 & 255] ^ lf_crc_tables[5][crc >> 16 & 255] ^
              lf_crc_tables[4][crc >> 24] ^ lf_crc_tables[3][data[4]] ^ lf_crc_tables[2][data[5]] ^
              lf_crc_tables[1][data[6]] ^ lf_crc_tables[0][data[7]];
    }
    while (size--) crc = (crc >> 8) ^ lf_crc_tables[0][(crc ^ *data++) & 255];
    return ~crc;
}
