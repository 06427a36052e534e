/* The keys that the engine's targets wait for: whose turn it is to have one derived.
 *
 * There may be thousands that begin at one moment, with a salt each and some of them with a new one
 * at each connection, and a key takes a processor for milliseconds. So only as many are handed over
 * as keep the threads at work. The others wait here, where nobody is served who has given up, and
 * the newest comes first: it has the most time left, while the oldest is about to be given up. Each
 * key is then one target less that waits, and in the end all have theirs. */
#include "lib/sys/engine_loop.h"

#include <string.h>

void tw_engine_want_key(struct tw_engine *engine, struct tw_target *target,
                        const struct tw_probe_salt *salt, tw_mono now)
{
    struct tw_target_key *key = &target->key;
    for (size_t i = 0; i < engine->count && !tw_target_key_is_known(key, salt); i++) {
        const struct tw_target_key *other = &engine->targets[i]->key;
        if (tw_target_key_is_known(other, salt) && tw_target_key_shares(key, other))
            tw_target_key_learn(key, salt, other->derived);
    }
    if (tw_target_key_is_known(key, salt)) {
        tw_probe_key(&target->probe, salt, key->derived, now);
        return;
    }
    tw_target_key_want(key, salt, ++engine->keys.turn);
    engine->keys.wanted = true;
}

/* Whether the key of `target` is on its way: asked for by itself or by one that shares it. */
static bool is_asked(const struct tw_engine *engine, const struct tw_target *target)
{
    for (unsigned i = 0; i < TW_ENGINE_KEYS_ASKED; i++) {
        const struct tw_target *asked = engine->keys.asked[i].target;
        if (asked != NULL && tw_target_key_waits(&target->key, &engine->keys.asked[i].salt) &&
            tw_target_key_shares(&target->key, &asked->key))
            return true;
    }
    return false;
}

/* NULL: nobody waits whose key is not on its way. */
static struct tw_target *newest(const struct tw_engine *engine)
{
    struct tw_target *found = NULL;
    for (size_t i = 0; i < engine->count; i++) {
        struct tw_target *target = engine->targets[i];
        if (target->key.waiting && tw_probe_waits_for_key(&target->probe, &target->key.wanted) &&
            (found == NULL || target->key.turn > found->key.turn) && !is_asked(engine, target))
            found = target;
    }
    return found;
}

void tw_engine_ask_keys(struct tw_engine *engine)
{
    struct tw_engine_keys *keys = &engine->keys;
    for (unsigned i = 0; keys->wanted && i < TW_ENGINE_KEYS_ASKED; i++) {
        if (keys->asked[i].target != NULL)
            continue;
        struct tw_target *target = newest(engine);
        keys->wanted = target != NULL;
        if (target == NULL)
            return;
        const struct tw_target_key *key = &target->key;
        if (tw_deriver_ask(engine->deriver, i, key->passphrase, key->size, &key->wanted) != 0)
            return; /* no memory: perhaps at the next turn */
        keys->asked[i] = (struct tw_engine_key){target, key->wanted};
    }
}

void tw_engine_take_keys(struct tw_engine *engine, tw_mono now)
{
    struct tw_deriver_answer answer;
    while (tw_deriver_take(engine->deriver, &answer) != 0) {
        const struct tw_target *asked = engine->keys.asked[answer.tag].target;
        engine->keys.asked[answer.tag].target = NULL;
        /* One key for everybody who waits for it, and for who will come back for it. */
        for (size_t i = 0; i < engine->count; i++) {
            struct tw_target *target = engine->targets[i];
            if (!tw_target_key_waits(&target->key, &answer.salt) ||
                !tw_target_key_shares(&target->key, &asked->key))
                continue;
            tw_target_key_learn(&target->key, &answer.salt, answer.key);
            tw_probe_key(&target->probe, &answer.salt, answer.key, now);
            tw_engine_touch(engine, target);
        }
        explicit_bzero(&answer, sizeof answer);
    }
}
