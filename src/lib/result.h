/* Why an operation of the core failed.
 *
 * Every function of the core that can fail returns one of these and must be checked. They are for
 * the program's own flow; what goes to a peer is an Accept value (wire.h), what is counted for a
 * user is a verdict or a close reason with a name of its own. */
#ifndef TW_LIB_RESULT_H
#define TW_LIB_RESULT_H

#define TW_RESULTS(X)                                                                              \
    X(TW_OK, "ok")                                                                                 \
    X(TW_ERR_SHORT, "fewer octets than the format needs")                                          \
    X(TW_ERR_SPACE, "no room in the buffer")                                                       \
    X(TW_ERR_FORMAT, "a field has a value that the format does not allow")                         \
    X(TW_ERR_STATE, "not possible in this state")

enum tw_result {
#define TW_RESULT_ENUM(name, text) name,
    TW_RESULTS(TW_RESULT_ENUM)
#undef TW_RESULT_ENUM
};

#define TW_MUST_CHECK __attribute__((warn_unused_result))

/* Never NULL; a static string in English, lower case, without a full stop. */
const char *tw_result_text(enum tw_result result);

#endif
