/* Judges requests for the Server machine; see server_request.h. */
#include "lib/server_request.h"

#include <stddef.h>

static bool packets_too_large(const struct tw_request *request, uint32_t modes, uint32_t limit)
{
    const size_t size = tw_test_sender_size(modes, request->padding_length);
    return size > TW_UDP_PAYLOAD_MAX || (limit != 0 && size > limit);
}

static bool timeout_too_large(const struct tw_request *request, int64_t limit_ns)
{
    return limit_ns != 0 && tw_interval_to_ns(request->timeout) > limit_ns;
}

/* RFC 6038 section 4.2: padding is longer than its part that is to be reflected, and that part must
 * survive the truncation. */
static bool padding_too_short(const struct tw_request *request, uint32_t modes)
{
    if ((modes & TW_MODE_REFLECT_OCTETS) == 0)
        return false;
    const uint32_t reflected = request->reflect_length;
    if (reflected > 0 && request->padding_length <= reflected)
        return true;
    return request->padding_length < tw_test_truncation(modes) + reflected;
}

bool tw_server_request_find_fault(const struct tw_request *request, uint32_t modes,
                                  const struct tw_server_config *config,
                                  enum tw_server_reject_reason *reason)
{
    const struct {
        bool found;
        enum tw_server_reject_reason reason;
    } faults[] = {
        {request->ipvn != 4 && request->ipvn != 6, TW_SERVER_REJECT_IPVN},
        {request->conf_sender != 0 || request->conf_receiver != 0, TW_SERVER_REJECT_ROLE},
        {request->sender_port == 0, TW_SERVER_REJECT_SENDER_PORT},
        {packets_too_large(request, modes, config->max_payload), TW_SERVER_REJECT_PADDING},
        {timeout_too_large(request, config->max_timeout_ns), TW_SERVER_REJECT_TIMEOUT},
        {tw_type_p_to_dscp(request->type_p) < 0, TW_SERVER_REJECT_TYPE_P},
        {padding_too_short(request, modes), TW_SERVER_REJECT_REFLECT},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (faults[i].found) {
            *reason = faults[i].reason;
            return true;
        }
    }
    return false;
}
