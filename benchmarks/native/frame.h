/* WebSocket frames as the two tools need them (RFC 6455 section 5.2): a resumable header reader and a header writer. */
#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

#include <stdint.h>
#include <string.h>

enum { OP_BINARY = 0x2, OP_CLOSE = 0x8, OP_PING = 0x9, OP_PONG = 0xA };
enum { FRAME_HEAD_MAX = 14 };

struct frame {
    uint8_t head[FRAME_HEAD_MAX]; /* what has arrived of the header */
    uint8_t have;                 /* bytes of it */
    uint8_t opcode, fin, masked, complete;
    uint8_t key[4];
    uint64_t length; /* payload bytes declared */
    uint64_t left;   /* payload bytes still to come */
};

static inline unsigned frame_head_size(const struct frame *f) {
    if (f->have < 2) return 2;
    unsigned length = f->head[1] & 0x7f;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (f->head[1] & 0x80 ? 4 : 0);
}

/* Takes header bytes from `data`; returns how many. Afterwards `complete` says whether the payload comes next. */
static inline size_t frame_read_head(struct frame *f, const uint8_t *data, size_t size) {
    size_t used = 0;
    while (f->have < frame_head_size(f)) {
        if (used == size) return used;
        f->head[f->have++] = data[used++];
    }
    unsigned length = f->head[1] & 0x7f, extended = length == 126 ? 2 : length == 127 ? 8 : 0;
    f->opcode = f->head[0] & 0x0f;
    f->fin = f->head[0] >> 7;
    f->masked = f->head[1] >> 7;
    f->length = extended ? 0 : length;
    for (unsigned i = 0; i < extended; i++) f->length = f->length << 8 | f->head[2 + i];
    if (f->masked) memcpy(f->key, f->head + 2 + extended, 4);
    f->left = f->length;
    f->complete = 1;
    return used;
}

static inline void frame_next(struct frame *f) { memset(f, 0, sizeof *f); }

/* Writes the header of one unfragmented frame; `key` is NULL for a frame without a mask. Returns its size. */
static inline size_t frame_write_head(uint8_t *out, uint8_t opcode, uint64_t length, const uint8_t *key) {
    size_t used = 2;
    unsigned extended = length < 126 ? 0 : length < 65536 ? 2 : 8;
    out[0] = 0x80 | opcode;
    out[1] = (uint8_t)((key ? 0x80 : 0) | (extended == 0 ? length : extended == 2 ? 126 : 127));
    for (unsigned i = extended; i-- > 0;) out[used++] = (uint8_t)(length >> (8 * i));
    if (key) {
        memcpy(out + used, key, 4);
        used += 4;
    }
    return used;
}

/* XORs `size` payload bytes, the first of which is at `offset` of the payload, eight at a time. */
static inline void frame_mask(uint8_t *data, size_t size, const uint8_t *key, uint64_t offset) {
    uint8_t turned[8];
    for (unsigned i = 0; i < 8; i++) turned[i] = key[(offset + i) & 3];
    uint64_t wide, word;
    memcpy(&wide, turned, 8);
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < size; i++) data[i] ^= turned[i & 7];
}

#endif
