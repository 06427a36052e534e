/* What `measure` notes of the engine's samples and measurements, and how it is written: for
 * programs that read it.
 *
 * A file of samples has one line each, in order of arrival, of fields with a space between them;
 * the first line names them. Instants are nanoseconds since 1970, delays nanoseconds; sources and
 * flags are the numbers of enum tw_source and TW_SAMPLE_*. A file of measurements has one line of
 * JSON each, unknown values null. */
#ifndef BENCH_MEASURE_NOTES_H
#define BENCH_MEASURE_NOTES_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/notes.h"
#include "lib/measurement.h"
#include "lib/sample.h"

/* As bench_notes_open. */
bool bench_measure_open_samples(struct bench_notes *notes);
bool bench_measure_open(struct bench_notes *notes);

void bench_measure_note_sample(struct bench_notes *notes, uint32_t target,
                               const struct tw_sample *sample);
void bench_measure_note(struct bench_notes *notes, uint32_t target,
                        const struct tw_measurement *measurement);

/* False with one line on stderr. */
bool bench_measure_write_samples(const struct bench_notes *notes, const char *path);
bool bench_measure_write(const struct bench_notes *notes, const char *path);

/* Of all targets and intervals. */
struct bench_measure_sums {
    uint64_t samples, measurements;
    uint64_t states[TW_MEASUREMENT_NAME + 1];
    uint64_t sent, received, lost, duplicates, reordered, late;
};

void bench_measure_add(struct bench_measure_sums *sums, const struct tw_measurement *measurement);

/* As members of a JSON object, to stdout. */
void bench_measure_print_sums(const struct bench_measure_sums *sums);

#endif
