/* A fake libnvidia-ml.so.1: it stands where hardware is missing, so that tests run the real nvidia-ml-py.
 *
 * Nothing in it measures anything. It answers from text files below the folder that TRITONPACK_FAKE_NVML names,
 * read anew on every call; README.md says what they hold. Signatures and struct layouts are those of nvml.h.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15
};
enum { MAX_GPUS = 16, MAX_MIG = 7, PATH = 512, TEXT = 65536 };

typedef struct { int gpu, mig; } Device; /* mig is -1 for a whole GPU */
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned long long time_us; union { double d; unsigned u; unsigned long long ull; } value; } Sample;
typedef struct { unsigned id; int status; double value; const char *names[3]; } Metric;
typedef struct { double graphics, sm, tensor, dram; } Gpm;
typedef struct { unsigned version, count; Gpm *first, *second; Metric metrics[]; } Metrics;
typedef struct { unsigned version, supported; } GpmSupport;

static Device devices[MAX_GPUS][MAX_MIG + 1];

/* --- the state files ------------------------------------------------------------------------------------- */

static int read_file(const char *path, char *text) {
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    text[fread(text, 1, TEXT - 1, file)] = 0;
    fclose(file);
    return 1;
}

static const char *root(void) { return getenv("TRITONPACK_FAKE_NVML"); }

static void stem(const Device *device, char *path, const char *suffix) {
    if (device->mig < 0) snprintf(path, PATH, "%s/gpu%d%s", root(), device->gpu, suffix);
    else snprintf(path, PATH, "%s/gpu%d.mig%d%s", root(), device->gpu, device->mig, suffix);
}

static int read_state(const Device *device, char *text) {
    char path[PATH];
    if (!root()) return 0;
    stem(device, path, ".state");
    return read_file(path, text);
}

/* The rest of the n-th line that begins with `key` and a space; NULL if there are fewer. */
static const char *value(const char *text, const char *key, int n) {
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (!strncmp(line, key, length) && line[length] == ' ' && n-- == 0) return line + length + 1;
    return NULL;
}

static double number(const char *text, const char *key, double missing) {
    const char *found = value(text, key, 0);
    return found ? strtod(found, NULL) : missing;
}

static void copy_line(char *to, unsigned size, const char *from) {
    unsigned n = 0;
    while (from && from[n] && from[n] != '\n' && n + 1 < size) { to[n] = from[n]; n++; }
    to[n] = 0;
}

/* Reads the state and says whether `function` may answer: `refuse FUNCTION CODE`, `lost 1`. */
static int enter(const Device *device, const char *function, char *text) {
    char name[128];
    if (!device || !read_state(device, text)) return GPU_IS_LOST;
    if (number(text, "lost", 0)) return GPU_IS_LOST;
    for (int n = 0; value(text, "refuse", n); n++) {
        int code = 0;
        if (sscanf(value(text, "refuse", n), "%127s %d", name, &code) == 2 && !strcmp(name, function)) return code;
    }
    return SUCCESS;
}

/* Sums the first two numbers of every file of gpuN.d that ends in `suffix`: one file for each loaded model. */
static void sum_files(const Device *device, const char *suffix, double *first, double *second) {
    char folder[PATH], path[2 * PATH], text[TEXT];
    stem(device, folder, ".d");
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name), end = strlen(suffix);
        double one = 0, two = 0;
        if (length <= end || strcmp(entry->d_name + length - end, suffix)) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!read_file(path, text)) continue;
        sscanf(text, "%lf %lf", &one, &two);
        *first += one;
        *second += two;
    }
    closedir(dir);
}

static unsigned long long mib(double amount) { return (unsigned long long)(amount * 1048576.0); }

static double least(double a, double b) { return a < b ? a : b; }

/* --- the driver ------------------------------------------------------------------------------------------ */

int nvmlInitWithFlags(unsigned flags) {
    char path[PATH], text[TEXT];
    (void)flags;
    if (!root()) return DRIVER_NOT_LOADED;
    snprintf(path, PATH, "%s/driver.state", root());
    return read_file(path, text) ? (int)number(text, "init", SUCCESS) : SUCCESS;
}

int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    char path[PATH], text[TEXT];
    snprintf(path, PATH, "%s/driver.state", root());
    copy_line(version, size, read_file(path, text) && value(text, "version", 0) ? value(text, "version", 0) : "0.fake");
    return SUCCESS;
}

const char *nvmlErrorString(int code) { return code ? "refused by the fake" : "success"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    char text[TEXT];
    for (*count = 0; *count < MAX_GPUS; (*count)++) {
        Device device = {(int)*count, -1};
        if (!read_state(&device, text)) break;
    }
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    unsigned count;
    nvmlDeviceGetCount_v2(&count);
    if (index >= count) return INVALID_ARGUMENT;
    *device = &devices[index][0];
    **device = (Device){(int)index, -1};
    return SUCCESS;
}

/* --- identity and MIG ------------------------------------------------------------------------------------ */

#define ENTER                                                   \
    char text[TEXT];                                            \
    int refused = enter(device, __func__, text);                \
    if (refused) return refused

/* Fails like a driver that has no such figure when the state file does not give it. */
#define NEED(key) if (!value(text, key, 0)) return NOT_SUPPORTED

int nvmlDeviceGetName(Device *device, char *name, unsigned size) {
    ENTER;
    copy_line(name, size, value(text, "name", 0));
    return SUCCESS;
}

int nvmlDeviceGetUUID(Device *device, char *uuid, unsigned size) {
    ENTER;
    copy_line(uuid, size, value(text, "uuid", 0));
    return SUCCESS;
}

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    ENTER;
    NEED("mig_mode");
    *current = *pending = (unsigned)number(text, "mig_mode", 0);
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned *count) {
    ENTER;
    *count = value(text, "mig_mode", 0) ? MAX_MIG : 0;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **slice) {
    ENTER;
    if (index >= MAX_MIG) return INVALID_ARGUMENT;
    Device candidate = {device->gpu, (int)index};
    if (!read_state(&candidate, text)) return NOT_FOUND;
    *slice = &devices[device->gpu][index + 1];
    **slice = candidate;
    return SUCCESS;
}

int nvmlDeviceGetGpuInstanceId(Device *device, unsigned *id) {
    ENTER;
    NEED("gpu_instance_id");
    *id = (unsigned)number(text, "gpu_instance_id", 0);
    return SUCCESS;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *device, Device **gpu) {
    ENTER;
    if (device->mig < 0) return INVALID_ARGUMENT;
    *gpu = &devices[device->gpu][0];
    **gpu = (Device){device->gpu, -1};
    return SUCCESS;
}

/* --- memory and processes -------------------------------------------------------------------------------- */

static void fill_memory(const Device *device, const char *text, MemoryV2 *memory) {
    double used = number(text, "memory_used_mib", 0), ignored = 0;
    sum_files(device, ".add", &used, &ignored);
    memory->total = mib(number(text, "memory_total_mib", 0));
    memory->reserved = mib(number(text, "memory_reserved_mib", 0));
    memory->used = mib(used);
    memory->free = memory->total - memory->reserved - memory->used;
}

int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) { /* version 1: what is reserved counts as used */
    ENTER;
    NEED("memory_total_mib");
    MemoryV2 exact;
    fill_memory(device, text, &exact);
    *memory = (Memory){exact.total, exact.free, exact.used + exact.reserved};
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(Device *device, MemoryV2 *memory) {
    ENTER;
    NEED("memory_total_mib");
    fill_memory(device, text, memory);
    return SUCCESS;
}

/* Lines `KEY PID MIB`; a negative amount stands for "not available". */
static int list_processes(const char *text, const char *key, unsigned *count, Process *processes) {
    unsigned room = processes ? *count : 0, n = 0;
    for (; value(text, key, (int)n); n++) {
        double amount = 0;
        unsigned pid = 0;
        sscanf(value(text, key, (int)n), "%u %lf", &pid, &amount);
        if (n < room) processes[n] = (Process){pid, amount < 0 ? ~0ULL : mib(amount), ~0U, ~0U};
    }
    *count = n;
    return n > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *processes) {
    ENTER;
    return list_processes(text, "process", count, processes);
}

int nvmlDeviceGetMPSComputeRunningProcesses_v3(Device *device, unsigned *count, Process *processes) {
    ENTER;
    return list_processes(text, "mps_process", count, processes);
}

/* --- utilization, power, clocks -------------------------------------------------------------------------- */

int nvmlDeviceGetUtilizationRates(Device *device, Utilization *rates) {
    ENTER;
    NEED("utilization_pct");
    double gpu = number(text, "utilization_pct", 0), memory = number(text, "memory_utilization_pct", 0);
    sum_files(device, ".busy", &gpu, &memory);
    *rates = (Utilization){(unsigned)least(gpu, 100), (unsigned)least(memory, 100)};
    return SUCCESS;
}

/* Lines `gpu_sample TIME_US PERCENT` and `memory_sample TIME_US PERCENT`; NOT_FOUND if none is newer. */
int nvmlDeviceGetSamples(Device *device, unsigned type, unsigned long long seen, unsigned *value_type,
                         unsigned *count, Sample *samples) {
    ENTER;
    const char *key = type == 1 ? "gpu_sample" : "memory_sample";
    NEED(key);
    unsigned n = 0;
    for (int line = 0; value(text, key, line); line++) {
        unsigned long long time_us = 0;
        unsigned percent = 0;
        sscanf(value(text, key, line), "%llu %u", &time_us, &percent);
        if (time_us <= seen) continue;
        if (samples && n < *count) { samples[n].time_us = time_us; samples[n].value.ull = percent; }
        n++;
    }
    *value_type = 1; /* unsigned int */
    *count = n;
    return n ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    ENTER;
    NEED("power_w");
    *milliwatts = (unsigned)(number(text, "power_w", 0) * 1000);
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(Device *device, unsigned type, unsigned *megahertz) {
    ENTER;
    NEED("sm_clock_mhz");
    if (type != 1) return NOT_SUPPORTED;
    *megahertz = (unsigned)number(text, "sm_clock_mhz", 0);
    return SUCCESS;
}

static int reasons(const char *text, unsigned long long *mask) {
    NEED("throttle_reasons");
    *mask = strtoull(value(text, "throttle_reasons", 0), NULL, 0);
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksEventReasons(Device *device, unsigned long long *mask) {
    ENTER;
    return reasons(text, mask);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *mask) {
    ENTER;
    return reasons(text, mask);
}

/* --- GPM: a sample holds the percentages of its moment, a metric is the mean of two --------------------- */

int nvmlGpmQueryDeviceSupport(Device *device, GpmSupport *support) {
    ENTER;
    support->supported = (unsigned)number(text, "gpm", 0);
    return SUCCESS;
}

int nvmlGpmSampleAlloc(Gpm **sample) { return (*sample = calloc(1, sizeof **sample)) ? SUCCESS : NOT_SUPPORTED; }

int nvmlGpmSampleFree(Gpm *sample) {
    free(sample);
    return SUCCESS;
}

static int take(const char *text, Gpm *sample) {
    NEED("gpm_sm_pct");
    *sample = (Gpm){number(text, "gpm_graphics_pct", -1), number(text, "gpm_sm_pct", -1),
                    number(text, "gpm_tensor_pct", -1), number(text, "gpm_dram_pct", -1)};
    return SUCCESS;
}

int nvmlGpmSampleGet(Device *device, Gpm *sample) {
    ENTER;
    if (value(text, "mig_mode", 0)) return NOT_SUPPORTED;
    return take(text, sample);
}

int nvmlGpmMigSampleGet(Device *device, unsigned gpu_instance, Gpm *sample) {
    ENTER;
    for (int mig = 0; mig < MAX_MIG; mig++) {
        Device slice = {device->gpu, mig};
        if (read_state(&slice, text) && number(text, "gpu_instance_id", -1) == gpu_instance) return take(text, sample);
    }
    return NOT_FOUND;
}

int nvmlGpmMetricsGet(Metrics *metrics) {
    const Gpm *a = metrics->first, *b = metrics->second;
    for (unsigned n = 0; n < metrics->count; n++) {
        Metric *metric = &metrics->metrics[n];
        double low, high;
        switch (metric->id) {
        case 1: low = a->graphics, high = b->graphics; break;
        case 2: low = a->sm, high = b->sm; break;
        case 5: low = a->tensor, high = b->tensor; break;
        case 10: low = a->dram, high = b->dram; break;
        default: low = high = -1;
        }
        metric->status = low < 0 || high < 0 ? NOT_SUPPORTED : SUCCESS;
        metric->value = (low + high) / 2;
    }
    return SUCCESS;
}
