/* Finds the quirks of a command by comparing it with what lib/wire would have written: what is
 * read and written again differs from the original only in octets that must be zero.
 *
 * The offsets stay in wire.c. Octets that are nobody's (MBZ) and fields that TWAMP took over from
 * OWAMP without a use for them are told apart, because routers differ in just these. */
#include "lib/fingerprint.h"

#include <assert.h>
#include <string.h>

#include "lib/keys.h"
#include "lib/quirk.h"
#include "lib/wire.h"

enum {
    COMMAND_MAX = TW_COMMAND_HEAD_SIZE + TW_SIDS_MAX * TW_SID_SIZE + TW_HMAC_SIZE,
    TYPE_P_REST = 0xffffff, /* what follows the DSCP */
};

uint32_t tw_fingerprint_mode(uint32_t mode)
{
    return (mode & ~(TW_MODE_SECURITY | TW_MODE_FEATURES)) != 0 ? TW_QUIRK_UNKNOWN_MODES : 0;
}

/* Writes the request again; its quirks are those of fields that have a name. */
static uint32_t repeat_request(const uint8_t *command, size_t size, uint32_t modes, uint8_t *again)
{
    struct tw_request request;
    const enum tw_result result = tw_get_request(command, size, &request);
    assert(result == TW_OK);
    (void)result;

    static const uint8_t no_sid[TW_SID_SIZE];
    uint32_t quirks = 0;
    if (request.packets != 0)
        quirks |= TW_QUIRK_REQUEST_PACKETS;
    if (memcmp(request.sid, no_sid, sizeof no_sid) != 0)
        quirks |= TW_QUIRK_REQUEST_SID;
    if ((request.type_p & TYPE_P_REST) != 0)
        quirks |= TW_QUIRK_TYPE_P_TOS;
    if ((modes & TW_MODE_REFLECT_OCTETS) == 0) /* RFC 6038 section 4.2: MBZ then */
        request.reflect_octets = request.reflect_length = 0;
    tw_put_request(again, &request);
    return quirks;
}

static void repeat_stop(const uint8_t *command, size_t size, uint8_t *again)
{
    struct tw_stop_sessions stop;
    const enum tw_result result = tw_get_stop_sessions(command, size, &stop);
    assert(result == TW_OK);
    (void)result;
    tw_put_stop_sessions(again, &stop);
}

static void repeat_sids(const uint8_t *command, uint8_t *again)
{
    struct tw_sids_head head = tw_get_sids_head(command);
    assert(head.count <= TW_SIDS_MAX);
    head.accept = 0; /* of acknowledgments alone */
    tw_put_sids(again, &head, command + TW_COMMAND_HEAD_SIZE);
}

uint32_t tw_fingerprint_command(const uint8_t *command, size_t size, uint32_t modes)
{
    uint8_t again[COMMAND_MAX];
    assert(size == tw_command_size(command) && size <= sizeof again);
    uint32_t quirks = 0;
    switch (command[0]) {
    case TW_COMMAND_REQUEST_TW_SESSION:
        quirks = repeat_request(command, size, modes, again);
        break;
    case TW_COMMAND_START_SESSIONS:
        tw_put_start_sessions(again);
        break;
    case TW_COMMAND_STOP_SESSIONS:
        repeat_stop(command, size, again);
        break;
    default:
        repeat_sids(command, again);
        break;
    }
    /* The HMAC must be zero, too, when there is no key for one. */
    const size_t compared = tw_keys_needed(modes) ? size - TW_HMAC_SIZE : size;
    if (memcmp(command, again, compared) != 0)
        quirks |= TW_QUIRK_MBZ;
    return quirks;
}
