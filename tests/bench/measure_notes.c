/* The contract is in measure_notes.h. */
#include "twamp-config.h"

#include "bench/measure_notes.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/arguments.h"
#include "lib/sys/socket.h"

enum { MOST_SAMPLES = 1 << 24, MOST_MEASUREMENTS = 1 << 20 };

struct sample_note {
    int64_t t1, t2, t3, t4, read;
    int64_t rtt_ns, rtt_total_ns;
    uint32_t target, sequence, reflector_sequence;
    uint8_t transmit_source, receive_source, flags;
};

struct note {
    uint32_t target;
    struct tw_measurement measurement;
};

bool bench_measure_open_samples(struct bench_notes *notes)
{
    return bench_notes_open(notes, sizeof(struct sample_note), MOST_SAMPLES);
}

bool bench_measure_open(struct bench_notes *notes)
{
    return bench_notes_open(notes, sizeof(struct note), MOST_MEASUREMENTS);
}

void bench_measure_note_sample(struct bench_notes *notes, uint32_t target,
                               const struct tw_sample *sample)
{
    struct sample_note *note = bench_notes_next(notes);
    if (note != NULL)
        *note = (struct sample_note){
            .t1 = sample->t1.ns,
            .t2 = sample->t2.ns,
            .t3 = sample->t3.ns,
            .t4 = sample->t4.ns,
            .read = sample->read.ns,
            .rtt_ns = sample->rtt_ns,
            .rtt_total_ns = sample->rtt_total_ns,
            .target = target,
            .sequence = sample->sequence,
            .reflector_sequence = sample->reflector_sequence,
            .transmit_source = (uint8_t)sample->transmit_source,
            .receive_source = (uint8_t)sample->receive_source,
            .flags = (uint8_t)sample->flags,
        };
}

void bench_measure_note(struct bench_notes *notes, uint32_t target,
                        const struct tw_measurement *measurement)
{
    struct note *note = bench_notes_next(notes);
    if (note != NULL)
        *note = (struct note){.target = target, .measurement = *measurement};
}

static FILE *open_file(const char *path)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        (void)bench_wrong(strerror(errno), path);
    return file;
}

static bool close_file(FILE *file, const char *path)
{
    const bool good = ferror(file) == 0;
    return (fclose(file) == 0 && good) || bench_wrong("not written", path);
}

bool bench_measure_write_samples(const struct bench_notes *notes, const char *path)
{
    FILE *file = open_file(path);
    if (file == NULL)
        return false;
    fputs("target sequence reflector_sequence t1 t2 t3 t4 read rtt rtt_total transmit_source "
          "receive_source flags\n",
          file);
    for (uint64_t i = 0; i < notes->count; i++) {
        const struct sample_note *note = bench_notes_at(notes, i);
        fprintf(file,
                "%" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64
                " %" PRId64 " %" PRId64 " %" PRId64 " %u %u %u\n",
                note->target, note->sequence, note->reflector_sequence, note->t1, note->t2,
                note->t3, note->t4, note->read, note->rtt_ns, note->rtt_total_ns,
                note->transmit_source, note->receive_source, note->flags);
    }
    return close_file(file, path);
}

static void print_number(FILE *file, const char *name, double value)
{
    if (isnan(value))
        fprintf(file, "\"%s\": null", name);
    else
        fprintf(file, "\"%s\": %.1f", name, value);
}

static void print_delay(FILE *file, const char *name, const struct tw_delay *delay,
                        const struct tw_variation *variation)
{
    const struct {
        const char *name;
        double value;
    } figures[] = {
        {"min", delay->min}, {"mean", delay->mean}, {"max", delay->max}, {"stddev", delay->stddev},
        {"p50", delay->p50}, {"p95", delay->p95},   {"p99", delay->p99},
    };
    fprintf(file, ", \"%s\": {\"n\": %" PRIu32, name, delay->n);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        fputs(", ", file);
        print_number(file, figures[i].name, figures[i].value);
    }
    if (variation != NULL) {
        fprintf(file, ", \"pairs\": %" PRIu32 ", ", variation->pairs);
        print_number(file, "jitter", variation->jitter);
        fputs(", ", file);
        print_number(file, "pdv_p95", variation->pdv_p95);
    }
    fputs("}", file);
}

static void print_counts(FILE *file, const struct tw_summary *s)
{
    const struct {
        const char *name;
        uint32_t count;
    } counts[] = {
        {"sent", s->sent},
        {"received", s->received},
        {"lost", s->lost},
        {"direction_known", s->direction_known},
        {"lost_forward", s->lost_forward},
        {"lost_reverse", s->lost_reverse},
        {"lost_undecided", s->lost_undecided},
        {"duplicates", s->duplicates},
        {"duplicates_forward", s->duplicates_forward},
        {"duplicates_reverse", s->duplicates_reverse},
        {"late", s->late},
        {"reordered", s->reordered},
        {"reordered_forward", s->reordered_forward},
        {"reordered_reverse", s->reordered_reverse},
        {"clock_anomalies", s->clock_anomalies},
        {"one_way_valid", s->one_way_valid},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        fprintf(file, ", \"%s\": %" PRIu32, counts[i].name, counts[i].count);
}

static void print_measurement(FILE *file, const struct note *note)
{
    const struct tw_measurement *m = &note->measurement;
    const struct tw_summary *s = &m->summary;
    char local[TW_ADDRESS_TEXT], remote[TW_ADDRESS_TEXT];
    fprintf(file,
            "{\"target\": %" PRIu32 ", \"time\": %" PRId64 ", \"state\": \"%s\", "
            "\"session\": %s, \"local\": \"%s\", \"remote\": \"%s\", \"mode\": %" PRIu32
            ", \"quirks\": %" PRIu32,
            note->target, m->time.ns, tw_measurement_state_name(m->state),
            m->session ? "true" : "false", tw_address_format(&m->local, true, local),
            tw_address_format(&m->remote, true, remote), m->mode, m->quirks);
    if (m->trouble.valid)
        fprintf(file, ", \"trouble\": \"%s: %s (%u)\"", tw_client_step_name(m->trouble.step),
                tw_client_failure_text(m->trouble.failure), m->trouble.accept);
    fprintf(file, ", \"error\": %d", m->trouble.error);
    print_counts(file, s);
    print_delay(file, "rtt", &s->rtt, &s->rtt_variation);
    print_delay(file, "rtt_total", &s->rtt_total, NULL);
    print_delay(file, "forward", &s->forward, &s->forward_variation);
    print_delay(file, "reverse", &s->reverse, &s->reverse_variation);
    print_delay(file, "processing", &s->processing, NULL);
    fputs(", ", file);
    print_number(file, "clock_error", s->clock_error);
    fputs(", ", file);
    print_number(file, "offset_estimate", s->offset_estimate);
    if (s->any_sample)
        fprintf(file, ", \"transmit_source\": \"%s\", \"receive_source\": \"%s\"",
                tw_source_name(s->transmit_source), tw_source_name(s->receive_source));
    fputs("}\n", file);
}

bool bench_measure_write(const struct bench_notes *notes, const char *path)
{
    FILE *file = open_file(path);
    if (file == NULL)
        return false;
    for (uint64_t i = 0; i < notes->count; i++)
        print_measurement(file, bench_notes_at(notes, i));
    return close_file(file, path);
}

void bench_measure_add(struct bench_measure_sums *sums, const struct tw_measurement *measurement)
{
    const struct tw_summary *summary = &measurement->summary;
    sums->measurements++;
    sums->states[measurement->state]++;
    sums->sent += summary->sent;
    sums->received += summary->received;
    sums->lost += summary->lost;
    sums->duplicates += summary->duplicates;
    sums->reordered += summary->reordered;
    sums->late += summary->late;
}

void bench_measure_print_sums(const struct bench_measure_sums *sums)
{
    printf("\"samples\": %" PRIu64 ", \"measurements\": %" PRIu64 ", \"sent\": %" PRIu64
           ", \"received\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"duplicates\": %" PRIu64
           ", \"reordered\": %" PRIu64 ", \"late\": %" PRIu64 ", \"states\": {",
           sums->samples, sums->measurements, sums->sent, sums->received, sums->lost,
           sums->duplicates, sums->reordered, sums->late);
    for (unsigned i = 0; i <= TW_MEASUREMENT_NAME; i++)
        printf("%s\"%s\": %" PRIu64, i == 0 ? "" : ", ", tw_measurement_state_name(i),
               sums->states[i]);
    printf("}");
}
