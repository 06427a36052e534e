/* The Server machine under a client, a driver and a clock that do anything: in clear and in secured
 * modes, where the harness holds the session keys, so that what it says is authentic unless the
 * script wants otherwise.
 *
 * Held after every step: the machine asks only what a sound server may be asked, reads nothing
 * while a question is open, and everything it says on a secured stream is authentic. */
#include "fuzz/fuzz.h"

#include "lib/server.h"

const char fuzz_name[] = "server";

enum { WIRE = 8192, SIDS = 16, STEPS = 400 };

struct world {
    struct fuzz_input input;
    struct tw_server server;
    struct tw_server_config config;
    tw_mono now;
    bool closed;
    bool asked;
    struct tw_server_event question;
    uint8_t sids[SIDS][TW_SID_SIZE]; /* of the newest sessions */
    enum { NONE, ACCEPTED, STARTED } states[SIDS];
    unsigned sid_count;

    /* the client's end */
    struct tw_channel channel;
    uint8_t in[TW_SERVER_OUT], out[TW_SERVER_IN]; /* this and the next are the channel's */
    struct tw_channel_ciphers ciphers;
    struct tw_keys keys;
    uint8_t derived[TW_AES_KEY_SIZE];
    uint8_t client_iv[TW_IV_SIZE];
    bool honest; /* it has said a token that is right */
    bool greeted, started;
    uint8_t wire[WIRE]; /* to the server, not yet read */
    size_t wire_size;

    /* what the server said, not yet understood */
    uint8_t said[WIRE];
    size_t said_size;
    size_t clear; /* octets of it that are deciphered */
    struct tw_mac mac;
};

static void put_on_wire(struct world *world, const uint8_t *octets, size_t n)
{
    if (n > WIRE - world->wire_size)
        return;
    memcpy(world->wire + world->wire_size, octets, n);
    world->wire_size += n;
}

/* A message through the client's channel: sealed once the stream is secured. */
static void say(struct world *world, const uint8_t *message, size_t n)
{
    size_t sealed_size;
    memcpy(tw_channel_place(&world->channel, n), message, n);
    tw_channel_queue(&world->channel, n);
    const uint8_t *sealed = tw_channel_output(&world->channel, &sealed_size);
    put_on_wire(world, sealed, sealed_size);
    tw_channel_sent(&world->channel, sealed_size);
}

static void say_setup_response(struct world *world)
{
    uint8_t message[TW_SETUP_RESPONSE_SIZE];
    struct tw_setup_response response = {
        .mode = (uint32_t)fuzz_number(&world->input, 2),
    };
    if (fuzz_octet(&world->input) % 8 != 0) {
        world->honest = true;
        tw_keys_seal_token(&world->keys, world->derived, world->server.challenge, response.token);
        memcpy(response.client_iv, world->client_iv, sizeof response.client_iv);
    } else {
        fuzz_fill(&world->input, response.token, sizeof response.token);
    }
    memcpy(response.keyid, "fuzz", 4);
    tw_put_setup_response(message, &response);
    put_on_wire(world, message, sizeof message);
}

static void say_request(struct world *world)
{
    uint8_t message[TW_REQUEST_SIZE];
    const struct tw_request request = {
        .ipvn = (fuzz_octet(&world->input) & 1) != 0 ? 6 : 4,
        .sender_port = 20000,
        .receiver_port = (uint16_t)fuzz_number(&world->input, 2),
        .padding_length = (uint32_t)fuzz_number(&world->input, 2),
        .timeout = fuzz_number(&world->input, 1) << 32,
        .type_p = tw_type_p_from_dscp(fuzz_octet(&world->input)),
        .reflect_octets = 0x1234,
        .reflect_length = fuzz_octet(&world->input),
    };
    tw_put_request(message, &request);
    fuzz_spoil(&world->input, message, sizeof message - TW_HMAC_SIZE);
    say(world, message, sizeof message);
}

static void say_short(struct world *world, bool stop)
{
    uint8_t message[TW_STOP_SESSIONS_SIZE];
    if (stop)
        tw_put_stop_sessions(message, &(struct tw_stop_sessions){
                                          .accept = fuzz_octet(&world->input) & 1,
                                          .sessions = fuzz_octet(&world->input) % 4,
                                      });
    else
        tw_put_start_sessions(message);
    fuzz_spoil(&world->input, message, sizeof message - TW_HMAC_SIZE);
    say(world, message, sizeof message);
}

static void say_sids(struct world *world, uint8_t command)
{
    static uint8_t message[TW_SERVER_IN];
    uint8_t sids[TW_SIDS_MAX * TW_SID_SIZE];
    const struct tw_sids_head head = {
        .command = command,
        .count = 1 + fuzz_octet(&world->input) % TW_SIDS_MAX,
    };
    for (uint32_t i = 0; i < head.count; i++) {
        const uint8_t pick = fuzz_octet(&world->input);
        memset(sids + i * TW_SID_SIZE, pick, TW_SID_SIZE);
        if (pick < SIDS)
            memcpy(sids + i * TW_SID_SIZE, world->sids[pick], TW_SID_SIZE);
    }
    tw_put_sids(message, &head, sids);
    say(world, message, tw_sids_size(head.count));
}

static void say_anything(struct world *world)
{
    uint8_t octets[256];
    const size_t n = fuzz_octet(&world->input);
    fuzz_fill(&world->input, octets, n);
    put_on_wire(world, octets, n);
}

/* Which of the messages that may be meant here is authentic; 0 if none is. */
static size_t authentic_size(struct world *world)
{
    const struct tw_sids_head head = tw_get_sids_head(world->said);
    const size_t sizes[] = {
        TW_ACCEPT_SESSION_SIZE,
        TW_START_ACK_SIZE,
        head.count <= TW_SIDS_MAX ? tw_sids_size(head.count) : 0,
    };
    for (size_t i = 0; i < 3; i++) {
        uint8_t expected[TW_MAC_SIZE];
        struct tw_mac mac = world->mac;
        if (sizes[i] == 0 || sizes[i] > world->said_size)
            continue;
        tw_mac_update(&mac, world->said, sizes[i] - TW_HMAC_SIZE);
        tw_mac_finish(&mac, expected);
        if (memcmp(expected, world->said + sizes[i] - TW_HMAC_SIZE, TW_HMAC_SIZE) == 0) {
            world->mac = mac;
            return sizes[i];
        }
    }
    return 0;
}

static void forget(struct world *world, size_t n)
{
    memmove(world->said, world->said + n, world->said_size - n);
    world->said_size -= n;
    world->clear = world->clear > n ? world->clear - n : 0;
}

static void understand_start(struct world *world)
{
    struct tw_server_start start;
    const enum tw_result result = tw_get_server_start(world->said, world->said_size, &start);
    FUZZ_CHECK(result == TW_OK);
    world->started = true;
    if (start.accept != 0 || !tw_keys_needed(world->server.mode)) {
        forget(world, TW_SERVER_START_SIZE);
        return;
    }
    FUZZ_CHECK(world->honest);
    tw_channel_secure(&world->channel, &world->keys, start.server_iv, world->client_iv);
    tw_mac_init(&world->mac, world->keys.hmac);
    forget(world, TW_SERVER_START_SIZE - TW_AES_BLOCK_SIZE);
    struct tw_channel_stream *stream = &world->ciphers.receive;
    tw_cipher_cbc_decrypt(&stream->cipher, stream->chain, world->said, world->said,
                          TW_AES_BLOCK_SIZE);
    tw_mac_update(&world->mac, world->said, TW_AES_BLOCK_SIZE);
    forget(world, TW_AES_BLOCK_SIZE);
}

/* Everything said so far, once all of it has been taken. */
static void understand(struct world *world)
{
    if (!world->greeted && world->said_size >= TW_GREETING_SIZE) {
        world->greeted = true;
        forget(world, TW_GREETING_SIZE);
    }
    if (world->greeted && !world->started && world->said_size >= TW_SERVER_START_SIZE)
        understand_start(world);
    if (!world->started)
        return;
    if (!world->channel.secured) {
        FUZZ_CHECK(world->said_size % TW_AES_BLOCK_SIZE == 0);
        world->said_size = 0;
        return;
    }
    struct tw_channel_stream *stream = &world->ciphers.receive;
    tw_cipher_cbc_decrypt(&stream->cipher, stream->chain, world->said + world->clear,
                          world->said + world->clear, world->said_size - world->clear);
    world->clear = world->said_size;
    while (world->said_size > 0) {
        const size_t n = authentic_size(world);
        FUZZ_CHECK(n > 0);
        forget(world, n);
    }
}

static void take_output(struct world *world)
{
    for (;;) {
        size_t n;
        const uint8_t *out = tw_server_output(&world->server, &n);
        if (n == 0)
            break;
        FUZZ_CHECK(n <= WIRE - world->said_size);
        memcpy(world->said + world->said_size, out, n);
        world->said_size += n;
        tw_server_sent(&world->server, n, world->now);
    }
    understand(world);
}

static void check_request(const struct world *world, const struct tw_request *request)
{
    FUZZ_CHECK(request->ipvn == 4 || request->ipvn == 6);
    FUZZ_CHECK(request->sender_port != 0 && request->schedule_slots == 0);
    FUZZ_CHECK(tw_test_sender_size(world->server.mode, request->padding_length) <=
               world->config.max_payload);
    FUZZ_CHECK(tw_interval_to_ns(request->timeout) <= world->config.max_timeout_ns);
    FUZZ_CHECK(tw_type_p_to_dscp(request->type_p) >= 0);
}

static void check_sids(const struct tw_server_event *event)
{
    FUZZ_CHECK(event->sids.count >= 1 && event->sids.count <= TW_SIDS_MAX);
    for (uint32_t i = 0; i < event->sids.count; i++)
        for (uint32_t j = 0; j < i; j++)
            FUZZ_CHECK(memcmp(event->sids.at + i * TW_SID_SIZE, event->sids.at + j * TW_SID_SIZE,
                              TW_SID_SIZE) != 0);
}

static void take_events(struct world *world)
{
    struct tw_server_event event;
    while (tw_server_next_event(&world->server, &event)) {
        FUZZ_CHECK(!world->closed && !world->asked);
        switch (event.type) {
        case TW_SERVER_REQUEST:
            check_request(world, &event.request);
            world->asked = true;
            break;
        case TW_SERVER_START_N:
        case TW_SERVER_STOP_N:
            FUZZ_CHECK((world->server.mode & TW_MODE_SESSION_CONTROL) != 0);
            check_sids(&event);
            world->asked = true;
            break;
        case TW_SERVER_KEY:
            FUZZ_CHECK(tw_keys_needed(world->config.modes));
            world->asked = true;
            break;
        case TW_SERVER_START:
            FUZZ_CHECK((world->server.mode & TW_MODE_SESSION_CONTROL) == 0);
            world->asked = true;
            break;
        case TW_SERVER_CLOSE:
            world->closed = true;
            break;
        case TW_SERVER_SET_UP:
            FUZZ_CHECK((event.mode & ~world->config.modes) == 0);
            FUZZ_CHECK(!tw_keys_needed(event.mode) || world->honest);
            break;
        case TW_SERVER_STOP:
        case TW_SERVER_REJECT:
            break;
        }
        if (world->asked)
            world->question = event;
    }
}

/* As a sound driver does it: only an accepted session can start, only a started one stop. */
static uint8_t judge_sid(struct world *world, const uint8_t *sid)
{
    const bool start = world->question.type == TW_SERVER_START_N;
    const uint8_t accept = fuzz_octet(&world->input) % 6;
    for (unsigned i = 0; i < SIDS; i++) {
        if (world->states[i] != (start ? ACCEPTED : STARTED) ||
            memcmp(world->sids[i], sid, TW_SID_SIZE) != 0)
            continue;
        if (accept == TW_ACCEPT_OK)
            world->states[i] = start ? STARTED : NONE;
        return accept;
    }
    return TW_ACCEPT_UNSUPPORTED;
}

static void answer_session(struct world *world, enum tw_accept accept)
{
    const unsigned i = world->sid_count++ % SIDS;
    fuzz_fill(&world->input, world->sids[i], 4);
    world->sids[i][15] = (uint8_t)world->sid_count;
    world->states[i] = accept == TW_ACCEPT_OK ? ACCEPTED : NONE;
    const enum tw_result result =
        tw_server_answer_session(&world->server, accept, 863, world->sids[i], world->now);
    FUZZ_CHECK(result == TW_OK);
}

static void answer(struct world *world)
{
    struct tw_server *server = &world->server;
    const enum tw_accept accept = (enum tw_accept)(fuzz_octet(&world->input) % 6);
    enum tw_result result = TW_ERR_STATE;
    if (!world->asked)
        return;
    world->asked = false;
    if (world->question.type == TW_SERVER_KEY) {
        result =
            tw_server_answer_key(server, world->derived, accept != TW_ACCEPT_FAILURE, world->now);
    } else if (world->question.type == TW_SERVER_REQUEST) {
        answer_session(world, accept);
        result = TW_OK;
    } else if (world->question.type == TW_SERVER_START) {
        result = tw_server_answer_start(server, accept, world->now);
    } else {
        uint8_t accepts[TW_SIDS_MAX];
        for (uint32_t i = 0; i < world->question.sids.count; i++)
            accepts[i] = judge_sid(world, world->question.sids.at + i * TW_SID_SIZE);
        result = tw_server_answer_sids(server, accepts, world->now);
    }
    FUZZ_CHECK(result == TW_OK);
}

static void deliver(struct world *world)
{
    size_t piece = 1 + (size_t)fuzz_octet(&world->input) * 8;
    size_t done = 0;
    while (done < world->wire_size && piece > 0) {
        size_t room;
        uint8_t *in = tw_server_input(&world->server, &room);
        FUZZ_CHECK(!(world->asked || world->closed) || room == 0);
        size_t n = world->wire_size - done < room ? world->wire_size - done : room;
        n = n < piece ? n : piece;
        if (n == 0)
            break;
        memcpy(in, world->wire + done, n);
        tw_server_received(&world->server, n, world->now);
        done += n;
        piece -= n;
        take_events(world);
    }
    memmove(world->wire, world->wire + done, world->wire_size - done);
    world->wire_size -= done;
}

static void pass_time(struct world *world)
{
    world->now = tw_mono_after(world->now, fuzz_duration_ns(&world->input));
    tw_server_expire(&world->server, world->now);
}

static void step(struct world *world)
{
    switch (fuzz_octet(&world->input) % 16) {
    case 0:
        say_anything(world);
        break;
    case 1:
        say_setup_response(world);
        break;
    case 2:
    case 3:
        say_request(world);
        break;
    case 4:
        say_short(world, false);
        break;
    case 5:
        say_short(world, true);
        break;
    case 6:
        say_sids(world, TW_COMMAND_START_N_SESSIONS);
        break;
    case 7:
        say_sids(world, TW_COMMAND_STOP_N_SESSIONS);
        break;
    case 8:
        pass_time(world);
        break;
    case 9:
        tw_server_sessions_ended(&world->server, world->now);
        break;
    case 10:
    case 11:
        answer(world);
        break;
    case 12:
        take_output(world);
        break;
    default:
        deliver(world);
        break;
    }
    take_events(world);
}

static void begin(struct world *world)
{
    static const uint8_t seed[TW_RANDOM_SEED_SIZE] = {1};
    struct tw_random random;
    tw_random_seed(&random, seed);
    tw_keys_draw(&world->keys, &random);
    tw_random_fill(&random, world->derived, sizeof world->derived);
    tw_random_fill(&random, world->client_iv, sizeof world->client_iv);
    world->now = (tw_mono){TW_NS_PER_S};
    world->config = (struct tw_server_config){
        .modes = (uint32_t)fuzz_number(&world->input, 2) &
                 (TW_MODE_SECURITY | (TW_MODE_FEATURES & ~TW_MODE_IKEV2)),
        .count = 1024,
        .start_time = UINT64_C(0xe9a1b2c000000000),
        .servwait_ns = 900 * TW_NS_PER_S,
        .stall_ns = 60 * TW_NS_PER_S,
        .max_payload = 9000,
        .max_timeout_ns = 60 * TW_NS_PER_S,
        .strict_stop = (fuzz_octet(&world->input) & 1) != 0,
    };
    const struct tw_channel_memory memory = {
        .in = world->in,
        .out = world->out,
        .in_size = sizeof world->in,
        .out_size = sizeof world->out,
        .ciphers = &world->ciphers,
    };
    tw_channel_init(&world->channel, &memory, 0);
    tw_server_init(&world->server, &world->config, &random, world->now);
}

/* However it stands, time alone brings it to an end, unless it waits for its driver or tests. */
static void end(struct world *world)
{
    for (int i = 0; i < 3 && !world->closed; i++) {
        const tw_mono deadline = tw_server_deadline(&world->server);
        if (tw_mono_is_never(deadline)) {
            FUZZ_CHECK(world->asked || world->server.running ||
                       world->server.state == TW_SERVER_STATE_CLOSING);
            return;
        }
        world->now = (tw_mono){deadline.ns > world->now.ns ? deadline.ns : world->now.ns};
        tw_server_expire(&world->server, world->now);
        take_events(world);
    }
    FUZZ_CHECK(world->closed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    memset(&world, 0, sizeof world);
    world.input = (struct fuzz_input){data, size};
    begin(&world);
    for (unsigned i = 0; i < STEPS && world.input.left > 0; i++)
        step(&world);
    take_output(&world);
    end(&world);
    tw_server_wipe(&world.server);
    return 0;
}
