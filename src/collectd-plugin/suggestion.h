/* Which name somebody meant who typed another: for messages that suggest one. */
#ifndef TW_PLUGIN_SUGGESTION_H
#define TW_PLUGIN_SUGGESTION_H

/* The less, the more likely `name` was meant; case is ignored. Whoever types the beginning of a
 * name means that name, unless another is one slip away. */
unsigned tw_suggestion_unlikeness(const char *typed, const char *name);

#endif
