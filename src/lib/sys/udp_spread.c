/* Which of the sockets on one port a datagram goes to: a filter program for the kernel and the same
 * calculation for ourselves; declared in udp.h.
 *
 * The kernel's own choice (SO_REUSEPORT) cannot be computed from outside, and a session belongs to
 * exactly one thread, which must be known before the first packet comes. */
#include <errno.h>
#include <linux/filter.h>
#include <stddef.h>
#include <sys/socket.h>

#include "lib/bytes.h"
#include "lib/sys/udp.h"

/* Hash of the source address, word by word, and the source port: sum = sum * FACTOR + word.
 * Multiplication carries bits upwards only, so at the end the high half is folded into the low one,
 * multiplied once more, and the high half of that is used: it depends on every bit. Without
 * secrets: who chooses address and port so that one thread gets all gains nothing over sending all
 * from one. */
#define FACTOR UINT32_C(0x9e3779b1)
enum { HALF = 16 };

unsigned tw_udp_spread_index(const struct tw_address *remote, unsigned count)
{
    const unsigned words = remote->family == 4 ? 1 : 4;
    uint32_t sum = 0;
    for (unsigned i = 0; i < words; i++)
        sum = sum * FACTOR + tw_get32(remote->octets + 4 * (size_t)i);
    sum = sum * FACTOR + remote->port;
    sum = (sum ^ sum >> HALF) * FACTOR;
    return (sum >> HALF) % count;
}

/* The filter sees the payload; headers are reached through SKF_NET_OFF, where the IP header
 * begins. */
enum {
    IP4_SOURCE = 12,
    IP6_SOURCE = 8,
    IP6_HEADER_SIZE = 40,
};
#define NETWORK(offset) ((uint32_t)(SKF_NET_OFF + (offset)))

struct program {
    struct sock_filter code[64];
    unsigned short length;
};

static void emit(struct program *program, unsigned code, uint32_t k)
{
    program->code[program->length++] = (struct sock_filter){.code = (uint16_t)code, .k = k};
}

/* M[0] = M[0] * FACTOR + A */
static void emit_fold(struct program *program)
{
    emit(program, BPF_MISC | BPF_TAX, 0);
    emit(program, BPF_LD | BPF_MEM, 0);
    emit(program, BPF_ALU | BPF_MUL | BPF_K, FACTOR);
    emit(program, BPF_ALU | BPF_ADD | BPF_X, 0);
    emit(program, BPF_ST, 0);
}

int tw_udp_spread(const struct tw_udp *udp, unsigned count)
{
    if (count == 0)
        return -EINVAL;
    const bool ip4 = udp->local.family == 4;
    struct program program = {.length = 0};
    emit(&program, BPF_LD | BPF_IMM, 0);
    emit(&program, BPF_ST, 0);
    for (unsigned i = 0; i < (ip4 ? 1U : 4U); i++) {
        emit(&program, BPF_LD | BPF_W | BPF_ABS,
             NETWORK((ip4 ? IP4_SOURCE : IP6_SOURCE) + 4 * (int)i));
        emit_fold(&program);
    }
    if (ip4) {
        /* Behind the IP header and its options. */
        emit(&program, BPF_LDX | BPF_B | BPF_MSH, NETWORK(0));
        emit(&program, BPF_LD | BPF_H | BPF_IND, NETWORK(0));
    } else {
        /* With extension headers this is not the port: such a datagram may go to a thread that does
         * not know its session, which counts and drops it. */
        emit(&program, BPF_LD | BPF_H | BPF_ABS, NETWORK(IP6_HEADER_SIZE));
    }
    emit_fold(&program);
    emit(&program, BPF_LD | BPF_MEM, 0);
    emit(&program, BPF_ALU | BPF_RSH | BPF_K, HALF);
    emit(&program, BPF_LDX | BPF_MEM, 0);
    emit(&program, BPF_ALU | BPF_XOR | BPF_X, 0);
    emit(&program, BPF_ALU | BPF_MUL | BPF_K, FACTOR);
    emit(&program, BPF_ALU | BPF_RSH | BPF_K, HALF);
    emit(&program, BPF_ALU | BPF_MOD | BPF_K, count);
    emit(&program, BPF_RET | BPF_A, 0);

    const struct sock_fprog filter = {.len = program.length, .filter = program.code};
    if (setsockopt(udp->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) != 0)
        return -errno;
    return 0;
}
