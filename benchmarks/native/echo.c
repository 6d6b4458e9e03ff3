/* The backend: a WebSocket echo server on one thread, cheap enough that the proxy in front of it is what is measured.
 *
 *   echo        listens on an ephemeral port of 127.0.0.1 and prints it; ends when its standard input does.
 *
 * Payload is unmasked and written on as it arrives, so a message of any size needs no buffer of its size. A Ping gets
 * its Pong, a Close its Close and then the end of the connection, server first (RFC 6455 section 7.1.1). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accept.h"
#include "frame.h"

enum { CHUNK = 256 * 1024, REQUEST_MAX = 8192, EVENTS = 512, CONTROL_MAX = 125 };

struct peer {
    int fd;
    uint8_t open, closing;
    struct frame frame;
    uint8_t *pending; /* what the socket would not take; reading stops until it is gone */
    size_t pending_size, pending_sent;
    char *request; /* the request head so far; freed once it is answered */
    size_t request_size;
};

static int poller;
/* A frame only shrinks on its way out: it loses its mask. The margin is for a header of which a part came earlier. */
static uint8_t inbox[CHUNK], outbox[CHUNK + FRAME_HEAD_MAX];
static size_t outbox_size;

static void watch(struct peer *p, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = p};
    if (epoll_ctl(poller, operation, p->fd, &event) < 0) perror("epoll_ctl"), exit(1);
}

static void drop(struct peer *p) {
    close(p->fd);
    free(p->pending);
    free(p->request);
    free(p);
}

/* Sends the outbox; what does not fit is kept. Returns 0 where the peer is gone. */
static int flush(struct peer *p) {
    if (!outbox_size) return 1;
    ssize_t sent = send(p->fd, outbox, outbox_size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return 0;
    if (sent < 0) sent = 0;
    if ((size_t)sent < outbox_size) {
        p->pending_size = outbox_size - (size_t)sent;
        p->pending_sent = 0;
        p->pending = malloc(p->pending_size);
        memcpy(p->pending, outbox + sent, p->pending_size);
        watch(p, EPOLL_CTL_MOD, EPOLLOUT);
    }
    outbox_size = 0;
    return 1;
}

static int flush_pending(struct peer *p) {
    ssize_t sent = send(p->fd, p->pending + p->pending_sent, p->pending_size - p->pending_sent, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    p->pending_sent += (size_t)sent;
    if (p->pending_sent < p->pending_size) return 1;
    free(p->pending);
    p->pending = NULL;
    if (p->closing) return 0;
    watch(p, EPOLL_CTL_MOD, EPOLLIN);
    return 1;
}

/* Turns masked frames into the same frames without a mask, in the outbox. Returns 0 on a frame no client may send. */
static int echo(struct peer *p, uint8_t *data, size_t size) {
    struct frame *f = &p->frame;
    while (size && !p->closing) {
        if (!f->complete) {
            size_t used = frame_read_head(f, data, size);
            data += used, size -= used;
            if (!f->complete) return 1;
            if (!f->masked) return 0;
            if (f->opcode >= OP_CLOSE && f->length > CONTROL_MAX) return 0;
            uint8_t opcode = f->opcode == OP_PING ? OP_PONG : f->opcode;
            size_t head = frame_write_head(outbox + outbox_size, opcode, f->length, NULL);
            outbox[outbox_size] = (uint8_t)(f->fin << 7 | opcode);
            outbox_size += head;
        }
        size_t take = f->left < size ? (size_t)f->left : size;
        memcpy(outbox + outbox_size, data, take);
        frame_mask(outbox + outbox_size, take, f->key, f->length - f->left);
        outbox_size += take, data += take, size -= take;
        f->left -= take;
        if (!f->left) {
            p->closing = f->opcode == OP_CLOSE;
            frame_next(f);
        }
    }
    return 1;
}

/* Answers the request once its head is whole. Returns 0 where it is no WebSocket handshake. */
static int answer(struct peer *p, const uint8_t *data, size_t size) {
    if (!p->request) p->request = calloc(1, REQUEST_MAX + 1);
    if (p->request_size + size > REQUEST_MAX) return 0;
    memcpy(p->request + p->request_size, data, size);
    p->request_size += size;
    p->request[p->request_size] = 0;
    char *end = strstr(p->request, "\r\n\r\n"), *key = strcasestr(p->request, "\r\nSec-WebSocket-Key:");
    if (!end) return 1;
    if (!key || key > end) return 0;
    key += sizeof "\r\nSec-WebSocket-Key:" - 1;
    key += strspn(key, " ");
    if (strcspn(key, "\r") != 24) return 0;
    char accept[29];
    websocket_accept(key, accept);
    outbox_size = (size_t)sprintf((char *)outbox,
                                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: %s\r\n\r\n",
                                  accept);
    p->open = 1;
    size_t head = (size_t)(end + 4 - p->request);
    int fine = echo(p, (uint8_t *)p->request + head, p->request_size - head);
    free(p->request);
    p->request = NULL;
    return fine;
}

static int readable(struct peer *p) {
    ssize_t got = recv(p->fd, inbox, CHUNK, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    int fine = p->open ? echo(p, inbox, (size_t)got) : answer(p, inbox, (size_t)got);
    return fine && flush(p) && (!p->closing || p->pending);
}

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096)) perror("listen"), exit(1);
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct peer *p = calloc(1, sizeof *p);
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        p->fd = fd;
        watch(p, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(void) {
    static struct peer listener, input; /* only their descriptor counts */
    poller = epoll_create1(EPOLL_CLOEXEC);
    input.fd = STDIN_FILENO;
    listener.fd = listen_on_loopback();
    watch(&input, EPOLL_CTL_ADD, EPOLLIN);
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct peer *p = events[i].data.ptr;
            if (p == &input) return 0;
            if (p == &listener)
                accept_all(p->fd);
            else if (!(p->pending ? flush_pending(p) : readable(p)))
                outbox_size = 0, drop(p);
        }
    }
}
