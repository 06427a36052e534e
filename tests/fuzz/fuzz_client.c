/* The Control-Client machine under a server, a driver and a clock that do anything: in clear and in
 * secured modes, where the harness opens the client's Token with the key that both ends derived, so
 * that what it says is authentic unless the script wants otherwise.
 *
 * Held after every step: a session is accepted, started or stopped only when the machine was asked
 * for it, and after a failure nothing more comes. */
#include "fuzz/fuzz.h"

#include "lib/bytes.h"
#include "lib/client.h"
#include "lib/server.h"

const char fuzz_name[] = "client";

enum { WIRE = 16384, SIDS = 16, STEPS = 400 };

struct world {
    struct fuzz_input input;
    struct tw_client client;
    struct tw_client_config config;
    struct tw_random random;
    tw_mono now;
    bool failed, key_asked, ready;
    unsigned requests, sessions, starts;

    struct tw_channel channel;                    /* the server's end */
    uint8_t in[TW_SERVER_IN], out[TW_SERVER_OUT]; /* this and the next are the channel's */
    struct tw_channel_ciphers ciphers, client_ciphers;
    struct tw_greeting greeting;
    uint8_t derived[TW_AES_KEY_SIZE];
    struct tw_setup_response response;
    bool responded;
    uint8_t sids[SIDS][TW_SID_SIZE]; /* of the newest sessions */
    unsigned sid_count;
    uint8_t wire[WIRE]; /* to the client, not yet read */
    size_t wire_size;
};

static void put_on_wire(struct world *world, const uint8_t *octets, size_t n)
{
    if (n > WIRE - world->wire_size)
        return;
    memcpy(world->wire + world->wire_size, octets, n);
    world->wire_size += n;
}

static void flush_channel(struct world *world)
{
    size_t n;
    const uint8_t *sealed = tw_channel_output(&world->channel, &n);
    put_on_wire(world, sealed, n);
    tw_channel_sent(&world->channel, n);
}

static void say(struct world *world, const uint8_t *message, size_t n)
{
    memcpy(tw_channel_place(&world->channel, n), message, n);
    tw_channel_queue(&world->channel, n);
    flush_channel(world);
}

static void say_greeting(struct world *world)
{
    uint8_t message[TW_GREETING_SIZE];
    world->greeting = (struct tw_greeting){
        .modes = (uint32_t)fuzz_number(&world->input, 2),
        .count = UINT32_C(1) << fuzz_octet(&world->input) % 18,
    };
    tw_put_greeting(message, &world->greeting);
    fuzz_spoil(&world->input, message, sizeof message);
    put_on_wire(world, message, sizeof message);
}

static void say_server_start(struct world *world)
{
    struct tw_server_start start = {
        .accept = fuzz_octet(&world->input) % 8 == 0 ? fuzz_octet(&world->input) : 0,
        .start_time = UINT64_C(0xe9a1b2c000000000),
    };
    struct tw_keys keys;
    fuzz_fill(&world->input, start.server_iv, 4);
    tw_put_server_start(tw_channel_place(&world->channel, TW_SERVER_START_SIZE), &start);
    const bool secured = world->responded && tw_keys_needed(world->response.mode) &&
                         start.accept == 0 && !world->channel.secured &&
                         tw_keys_open_token(&keys, world->derived, world->client.greeting.challenge,
                                            world->response.token);
    if (secured) {
        tw_channel_secure(&world->channel, &keys, world->response.client_iv, start.server_iv);
        tw_channel_queue_server_start(&world->channel);
    } else {
        tw_channel_queue(&world->channel, TW_SERVER_START_SIZE);
    }
    flush_channel(world);
}

static void say_accept_session(struct world *world)
{
    uint8_t message[TW_ACCEPT_SESSION_SIZE];
    struct tw_accept_session answer = {
        .accept = fuzz_octet(&world->input) % 4 == 0 ? fuzz_octet(&world->input) : 0,
        .port = (uint16_t)fuzz_number(&world->input, 2),
    };
    answer.sid[0] = fuzz_octet(&world->input);
    answer.sid[15] = 1;
    memcpy(world->sids[world->sid_count++ % SIDS], answer.sid, TW_SID_SIZE);
    tw_put_accept_session(message, &answer);
    fuzz_spoil(&world->input, message, sizeof message - TW_HMAC_SIZE);
    say(world, message, sizeof message);
}

static void say_short(struct world *world, bool stop)
{
    uint8_t message[TW_START_ACK_SIZE];
    if (stop)
        tw_put_stop_sessions(message, &(struct tw_stop_sessions){.sessions = 1});
    else
        tw_put_start_ack(message, fuzz_octet(&world->input) % 4);
    fuzz_spoil(&world->input, message, sizeof message - TW_HMAC_SIZE);
    say(world, message, sizeof message);
}

static void say_ack(struct world *world, uint8_t command)
{
    static uint8_t message[TW_SERVER_IN];
    uint8_t sids[TW_SIDS_MAX * TW_SID_SIZE] = {0};
    const struct tw_sids_head head = {
        .command = command,
        .accept = fuzz_octet(&world->input) % 4,
        .count = 1 + fuzz_octet(&world->input) % 20,
    };
    for (uint32_t i = 0; i < head.count; i++) {
        uint8_t *sid = sids + i * TW_SID_SIZE;
        if (i < SIDS)
            memcpy(sid, world->sids[i], TW_SID_SIZE);
        else
            fuzz_fill(&world->input, sid, 4);
    }
    tw_put_sids(message, &head, sids);
    fuzz_spoil(&world->input, message, TW_COMMAND_HEAD_SIZE);
    say(world, message, tw_sids_size(head.count));
}

static void say_anything(struct world *world)
{
    uint8_t octets[256];
    const size_t n = fuzz_octet(&world->input);
    fuzz_fill(&world->input, octets, n);
    put_on_wire(world, octets, n);
}

static void take_events(struct world *world)
{
    struct tw_client_event event;
    while (tw_client_next_event(&world->client, &event)) {
        FUZZ_CHECK(!world->failed);
        switch (event.type) {
        case TW_CLIENT_KEY:
            FUZZ_CHECK(tw_keys_needed(world->config.mode) &&
                       tw_keys_count_is_valid(event.key.count) &&
                       event.key.count <= TW_KEYS_COUNT_DEFAULT);
            world->key_asked = true;
            break;
        case TW_CLIENT_READY:
            FUZZ_CHECK(!world->ready &&
                       (event.ready.mode & TW_MODE_SECURITY) == world->config.mode);
            FUZZ_CHECK((event.ready.mode & ~event.ready.offered) == 0);
            world->ready = true;
            break;
        case TW_CLIENT_SESSION:
            FUZZ_CHECK(world->requests > 0);
            FUZZ_CHECK((event.session.accept == 0) == (event.session.port != 0));
            world->requests--;
            world->sessions += event.session.accept == 0;
            break;
        case TW_CLIENT_STARTED:
            FUZZ_CHECK(world->starts > 0 && world->sessions > 0);
            world->starts--;
            break;
        case TW_CLIENT_STOPPED:
            FUZZ_CHECK((world->client.mode & TW_MODE_SESSION_CONTROL) != 0);
            break;
        case TW_CLIENT_FAILED:
            world->failed = true;
            FUZZ_CHECK(tw_mono_is_never(tw_client_deadline(&world->client)));
            break;
        }
    }
}

/* Takes what the client says; what matters of it is the Token. */
static void take_output(struct world *world)
{
    size_t n;
    const uint8_t *out = tw_client_output(&world->client, &n);
    if (n >= TW_SETUP_RESPONSE_SIZE && !world->responded) {
        const enum tw_result result = tw_get_setup_response(out, n, &world->response);
        FUZZ_CHECK(result == TW_OK);
        world->responded = true;
    }
    tw_client_sent(&world->client, n, world->now);
}

static void deliver(struct world *world)
{
    size_t piece = 1 + (size_t)fuzz_octet(&world->input) * 8;
    size_t done = 0;
    while (done < world->wire_size && piece > 0 && !world->failed) {
        size_t room;
        uint8_t *in = tw_client_input(&world->client, &room);
        size_t n = world->wire_size - done < room ? world->wire_size - done : room;
        n = n < piece ? n : piece;
        if (n == 0)
            break;
        memcpy(in, world->wire + done, n);
        tw_client_received(&world->client, n, world->now);
        done += n;
        piece -= n;
        take_events(world);
    }
    memmove(world->wire, world->wire + done, world->wire_size - done);
    world->wire_size -= done;
}

static void ask(struct world *world)
{
    const struct tw_request request = {
        .ipvn = 4,
        .sender_port = 20000,
        .receiver_port = fuzz_octet(&world->input),
        .reflect_octets = 0x1234,
    };
    if (tw_client_request(&world->client, &request, world->now) == TW_OK)
        world->requests++;
}

static void control(struct world *world)
{
    struct tw_client *client = &world->client;
    const uint8_t pick = fuzz_octet(&world->input);
    const uint8_t *sid = world->sids[pick % SIDS];
    enum tw_result result = TW_ERR_STATE;
    switch (pick / 64) {
    case 0:
        result = tw_client_start(client, world->now);
        world->starts += result == TW_OK;
        break;
    case 1:
        result = tw_client_start_one(client, sid, world->now);
        world->starts += result == TW_OK;
        break;
    case 2:
        result = tw_client_stop(client, TW_ACCEPT_OK, world->now);
        break;
    default:
        result = tw_client_stop_one(client, sid, world->now);
        break;
    }
    FUZZ_CHECK(result == TW_OK || result == TW_ERR_STATE);
}

static void step(struct world *world)
{
    switch (fuzz_octet(&world->input) % 16) {
    case 0:
        say_anything(world);
        break;
    case 1:
        say_greeting(world);
        break;
    case 2:
        say_server_start(world);
        break;
    case 3:
        say_accept_session(world);
        break;
    case 4:
        say_short(world, false);
        break;
    case 5:
        say_short(world, true);
        break;
    case 6:
        say_ack(world, TW_COMMAND_START_N_ACK);
        break;
    case 7:
        say_ack(world, TW_COMMAND_STOP_N_ACK);
        break;
    case 8:
        world->now = tw_mono_after(world->now, fuzz_duration_ns(&world->input));
        tw_client_expire(&world->client, world->now);
        break;
    case 9:
        if (world->key_asked && !world->failed) {
            world->key_asked = false;
            const enum tw_result result =
                tw_client_answer_key(&world->client, world->derived, &world->random, world->now);
            FUZZ_CHECK(result == TW_OK);
        }
        break;
    case 10:
        ask(world);
        break;
    case 11:
        control(world);
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
    static const uint8_t seed[TW_RANDOM_SEED_SIZE] = {2};
    tw_random_seed(&world->random, seed);
    tw_random_fill(&world->random, world->derived, sizeof world->derived);
    world->now = (tw_mono){TW_NS_PER_S};
    world->config = (struct tw_client_config){
        .mode = UINT32_C(1) << fuzz_octet(&world->input) % 4,
        .features = (uint32_t)fuzz_number(&world->input, 2) & TW_MODE_FEATURES & ~TW_MODE_IKEV2,
        .step_ns = 5 * TW_NS_PER_S,
        .keyid = "fuzz",
    };
    const struct tw_channel_memory memory = {
        .in = world->in,
        .out = world->out,
        .in_size = sizeof world->in,
        .out_size = sizeof world->out,
        .ciphers = &world->ciphers,
    };
    tw_channel_init(&world->channel, &memory, 0);
    tw_client_init(&world->client, &world->config, &world->client_ciphers, world->now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    memset(&world, 0, sizeof world);
    world.input = (struct fuzz_input){data, size};
    begin(&world);
    for (unsigned i = 0; i < STEPS && world.input.left > 0; i++)
        step(&world);
    tw_client_end(&world.client);
    take_events(&world);
    FUZZ_CHECK(world.failed);
    tw_client_wipe(&world.client);
    return 0;
}
