/* The filter, as a program for the kernel, and the ring; the contract is in capture.h. */
#include "twamp-config.h"

#include "bench/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/wire.h"

enum {
    IP4_HEADER_MIN = 20,
    IP4_HEADER_MAX = 60,
    IP6_HEADER_SIZE = 40,
    UDP_HEADER_SIZE = 8,
    SENDER_SEQUENCE = 24, /* in an unauthenticated reply, see lib/wire_packet.c */
    SNAP = 128,           /* octets of a packet that are kept */
};
_Static_assert(SNAP >= IP4_HEADER_MAX + UDP_HEADER_SIZE + TW_TEST_REPLY_MIN, "replies are cut off");

/* The program sees a packet from its IP header on. Each family and direction is a section of it:
 * what fails one of a section's conditions goes on to the next, and behind the last nowhere. */
struct program {
    struct sock_filter code[160];
    unsigned short length;
    unsigned short conditions[24]; /* of this section: where they stand */
    unsigned condition_count;
};

static void emit(struct program *program, unsigned code, uint32_t k)
{
    program->code[program->length++] = (struct sock_filter){.code = (uint16_t)code, .k = k};
}

/* BPF_JEQ: the accumulator must be k; BPF_JSET: it must have none of these bits. */
static void emit_condition(struct program *program, unsigned test, uint32_t k)
{
    program->conditions[program->condition_count++] = program->length;
    emit(program, BPF_JMP | test | BPF_K, k);
}

static void end_section(struct program *program)
{
    for (unsigned i = 0; i < program->condition_count; i++) {
        struct sock_filter *condition = &program->code[program->conditions[i]];
        const uint8_t onwards = (uint8_t)(program->length - program->conditions[i] - 1);
        if (BPF_OP(condition->code) == BPF_JSET)
            condition->jt = onwards;
        else
            condition->jf = onwards;
    }
    program->condition_count = 0;
}

/* The address at `offset` is one of the peer's. */
static void emit_peer(struct program *program, const struct bench_filter *filter, uint32_t offset)
{
    for (unsigned word = 0; 32 * word < filter->peer_bits; word++) {
        const unsigned bits = filter->peer_bits - 32 * word;
        const uint32_t mask = bits >= 32 ? UINT32_MAX : ~(UINT32_MAX >> bits);
        emit(program, BPF_LD | BPF_W | BPF_ABS, offset + 4 * word);
        emit(program, BPF_ALU | BPF_AND | BPF_K, mask);
        emit_condition(program, BPF_JEQ, tw_get32(filter->peer.octets + 4 * (size_t)word) & mask);
    }
}

/* A family and a direction, and where the filter finds their fields. */
struct section {
    uint16_t protocol; /* of the link layer */
    uint8_t family;
    bool reply;
    uint8_t next_header; /* offset */
    uint8_t remote;      /* offset of the Session-Sender's address */
};

static void emit_section(struct program *program, const struct bench_filter *filter,
                         const struct section *section)
{
    emit(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL));
    emit_condition(program, BPF_JEQ, section->protocol);
    emit(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE));
    const bool goes_out = section->reply != filter->at_sender;
    emit_condition(program, BPF_JEQ, goes_out ? PACKET_OUTGOING : PACKET_HOST);
    emit(program, BPF_LD | BPF_B | BPF_ABS, section->next_header);
    emit_condition(program, BPF_JEQ, IPPROTO_UDP);
    if (section->family == 4) {
        emit(program, BPF_LD | BPF_H | BPF_ABS, 6); /* flags and Fragment Offset */
        emit_condition(program, BPF_JSET, 0x3fff);  /* all but DF */
        emit(program, BPF_LDX | BPF_B | BPF_MSH, 0);
    } else {
        emit(program, BPF_LDX | BPF_W | BPF_IMM, IP6_HEADER_SIZE);
    }
    emit(program, BPF_LD | BPF_H | BPF_IND, section->reply ? 0 : 2);
    emit_condition(program, BPF_JEQ, filter->port);
    if (filter->peer.family == section->family)
        emit_peer(program, filter, section->remote);
    const uint32_t sequence = section->reply ? SENDER_SEQUENCE : 0;
    emit(program, BPF_LD | BPF_W | BPF_IND, UDP_HEADER_SIZE + sequence);
    emit_condition(program, BPF_JSET, filter->every - 1);
    emit(program, BPF_RET | BPF_K, SNAP);
    end_section(program);
}

static int attach(int fd, const struct bench_filter *filter)
{
    static const struct section sections[] = {
        {ETH_P_IP, 4, false, 9, 12},
        {ETH_P_IP, 4, true, 9, 16},
        {ETH_P_IPV6, 6, false, 6, 8},
        {ETH_P_IPV6, 6, true, 6, 24},
    };
    struct program program = {.length = 0};
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (filter->peer.family == 0 || filter->peer.family == sections[i].family)
            emit_section(&program, filter, &sections[i]);
    emit(&program, BPF_RET | BPF_K, 0);
    const struct sock_fprog attached = {.len = program.length, .filter = program.code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &attached, sizeof attached);
}

/* The ring: blocks that the kernel fills in turn, and hands over when they are full or old. */

enum {
    BLOCK_SIZE = 1 << 18,
    BLOCKS = 64,
    FRAME_SIZE = 2048, /* a formality: in a block packets lie one behind the other */
    BLOCK_AGE_MS = 50,
};
#define RING_SIZE ((size_t)BLOCK_SIZE * BLOCKS)

static int make_ring(struct bench_capture *capture)
{
    const int version = TPACKET_V3, stamps = SOF_TIMESTAMPING_SOFTWARE, on = 1;
    const struct tpacket_req3 ring = {
        .tp_block_size = BLOCK_SIZE,
        .tp_block_nr = BLOCKS,
        .tp_frame_size = FRAME_SIZE,
        .tp_frame_nr = BLOCK_SIZE / FRAME_SIZE * BLOCKS,
        .tp_retire_blk_tov = BLOCK_AGE_MS,
    };
    const int fd = capture->fd;
    /* SO_TIMESTAMPNS only makes the kernel stamp what comes in: the ring tells stamps itself. */
    if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_TIMESTAMP, &stamps, sizeof stamps) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) != 0)
        return -1;
    void *memory = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return -1;
    capture->ring = memory;
    return 0;
}

static int begin(struct bench_capture *capture, const char *interface,
                 const struct bench_filter *filter)
{
    const struct sockaddr_ll where = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL), /* those who ask for less are not shown what goes out */
        .sll_ifindex = (int)if_nametoindex(interface),
    };
    if (where.sll_ifindex == 0 || attach(capture->fd, filter) != 0 || make_ring(capture) != 0)
        return -1;
    return bind(capture->fd, (const struct sockaddr *)&where, sizeof where);
}

int bench_capture_open(struct bench_capture *capture, const char *interface,
                       const struct bench_filter *filter)
{
    /* Without a protocol nothing comes before it is bound. */
    *capture = (struct bench_capture){
        .fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
        .at_sender = filter->at_sender,
    };
    if (capture->fd < 0)
        return -errno;
    if (begin(capture, interface, filter) == 0)
        return 0;
    const int error = errno;
    bench_capture_close(capture);
    return -error;
}

void bench_capture_close(struct bench_capture *capture)
{
    if (capture->ring != NULL)
        (void)munmap(capture->ring, RING_SIZE);
    (void)close(capture->fd);
}

static struct tw_address address_at(uint8_t family, const uint8_t *octets, const uint8_t *port)
{
    struct tw_address address = {.family = family, .port = tw_get16(port)};
    memcpy(address.octets, octets, family == 4 ? 4 : 16);
    return address;
}

/* The filter has seen that it is UDP and in one piece, but not whether all of it is there. */
static bool find_payload(struct bench_packet *packet)
{
    if (packet->length < IP4_HEADER_MIN)
        return false;
    const bool ip4 = packet->ip[0] >> 4 == 4;
    const size_t header = ip4 ? 4 * (size_t)(packet->ip[0] & 0x0f) : IP6_HEADER_SIZE;
    packet->payload = header + UDP_HEADER_SIZE;
    if (packet->length < packet->payload)
        return false;
    const uint8_t *addresses = packet->ip + (ip4 ? 12 : 8);
    const uint8_t *ports = packet->ip + header;
    packet->source = address_at(ip4 ? 4 : 6, addresses, ports);
    packet->destination = address_at(ip4 ? 4 : 6, addresses + (ip4 ? 4 : 16), ports + 2);
    return true;
}

void bench_capture_read(struct bench_capture *capture,
                        void (*take)(void *context, const struct bench_packet *packet),
                        void *context)
{
    for (;;) {
        uint8_t *block = capture->ring + (size_t)capture->next * BLOCK_SIZE;
        struct tpacket_hdr_v1 *head = &((struct tpacket_block_desc *)(void *)block)->hdr.bh1;
        if ((__atomic_load_n(&head->block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0)
            return;
        const uint8_t *at = block + head->offset_to_first_pkt;
        for (uint32_t i = 0; i < head->num_pkts; i++) {
            const struct tpacket3_hdr *entry = (const void *)at;
            const size_t link_offset =
                (sizeof *entry + TPACKET_ALIGNMENT - 1) / TPACKET_ALIGNMENT * TPACKET_ALIGNMENT;
            const struct sockaddr_ll *link = (const void *)(at + link_offset);
            struct bench_packet packet = {
                .ip = at + entry->tp_net,
                .length = entry->tp_snaplen,
                .reply = (link->sll_pkttype == PACKET_OUTGOING) != capture->at_sender,
                .at = {entry->tp_sec * TW_NS_PER_S + entry->tp_nsec},
            };
            if (find_payload(&packet))
                take(context, &packet);
            at += entry->tp_next_offset;
        }
        __atomic_store_n(&head->block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        capture->next = (capture->next + 1) % BLOCKS;
    }
}

uint32_t bench_capture_drops(const struct bench_capture *capture)
{
    struct tpacket_stats_v3 counts = {.tp_drops = 0};
    socklen_t size = sizeof counts;
    if (getsockopt(capture->fd, SOL_PACKET, PACKET_STATISTICS, &counts, &size) != 0)
        return 0;
    return counts.tp_drops;
}
