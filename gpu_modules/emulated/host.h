/* The host's side: memory with a limit, streams that are always done, graphs that record launches and repeat them. */
#include <map>
#include <tuple>

enum cudaError_t { cudaSuccess, cudaErrorInvalidValue, cudaErrorMemoryAllocation, cudaErrorNoDevice = 100 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
enum { cudaHostRegisterMapped = 2, cudaHostRegisterReadOnly = 8, cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };

typedef std::vector<std::function<void()>> *cudaGraph_t, *cudaGraphExec_t;
struct lf_emulated_stream {
    cudaGraph_t recording;
};
typedef lf_emulated_stream *cudaStream_t;
typedef int *cudaEvent_t;

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin, sharedMemPerMultiprocessor;
    int major, minor, multiProcessorCount, warpSize, l2CacheSize;
};

namespace lf_emulated {
inline cudaError_t last = cudaSuccess;
inline int card;
inline int64_t used[64];
inline std::map<void *, std::pair<int, int64_t>> allocations;
inline std::map<const void *, size_t> allowed_shared;
enum { ORDINARY_SHARED = 48 << 10, MOST_SHARED = 99 << 10 };

inline int64_t number(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoll(text, 0, 10) : otherwise;
}
inline int cards() { return (int)number("LF_EMULATED_DEVICES", 1); }
inline int64_t memory() { return number("LF_EMULATED_MEMORY", (int64_t)8 << 30); }
inline cudaError_t fail(cudaError_t error) { return last = error; }

/* Do it now, or write it down where the stream is being captured. */
template <class F> void perform(cudaStream_t stream, F what) {
    if (stream && stream->recording)
        stream->recording->push_back(what);
    else
        what();
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream, A... arguments) {
    auto found = allowed_shared.find((const void *)kernel);
    size_t most = found == allowed_shared.end() ? (size_t)ORDINARY_SHARED : found->second;
    unsigned threads = block.x * block.y * block.z;
    if (shared > most || !threads || threads > MOST_THREADS || !grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535) {
        fail(cudaErrorInvalidValue);
        return;
    }
    std::tuple<P...> bound(arguments...);
    perform(stream, [=] { run_grid(grid, block, shared, [=] { std::apply(kernel, bound); }); });
}
} // namespace lf_emulated

static inline const char *cudaGetErrorString(cudaError_t e) {
    return e == cudaSuccess ? "no error" : e == cudaErrorMemoryAllocation ? "out of memory"
         : e == cudaErrorNoDevice ? "no device" : "invalid value";
}
static inline cudaError_t cudaGetLastError() {
    cudaError_t e = lf_emulated::last;
    lf_emulated::last = cudaSuccess;
    return e;
}
static inline cudaError_t cudaGetDeviceCount(int *n) {
    *n = lf_emulated::cards();
    return *n > 0 ? cudaSuccess : lf_emulated::fail(cudaErrorNoDevice);
}
static inline cudaError_t cudaSetDevice(int i) {
    if (i < 0 || i >= lf_emulated::cards()) return lf_emulated::fail(cudaErrorInvalidValue);
    lf_emulated::card = i;
    return cudaSuccess;
}
static inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int i) {
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated card %d", i);
    p->totalGlobalMem = (size_t)lf_emulated::memory();
    p->sharedMemPerBlockOptin = lf_emulated::MOST_SHARED, p->sharedMemPerMultiprocessor = 100 << 10;
    p->major = 8, p->minor = 0, p->multiProcessorCount = 4, p->warpSize = 32, p->l2CacheSize = 1 << 20;
    return cudaSuccess;
}
static inline cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
    *total = (size_t)lf_emulated::memory();
    *available = *total - (size_t)lf_emulated::used[lf_emulated::card];
    return cudaSuccess;
}
template <class T> cudaError_t cudaMalloc(T **p, size_t size) {
    using namespace lf_emulated;
    *p = 0;
    int64_t bytes = (int64_t)((size + 255) / 256 * 256);
    if (bytes > memory() - used[card]) return fail(cudaErrorMemoryAllocation);
    void *got = aligned_alloc(256, (size_t)bytes + 256);
    if (!got) return fail(cudaErrorMemoryAllocation);
    memset(got, 0xff, (size_t)(bytes < 1 << 26 ? bytes : 1 << 26)); /* no number: unwritten memory shows */
    used[card] += bytes;
    allocations[got] = {card, bytes};
    *p = (T *)got;
    return cudaSuccess;
}
static inline cudaError_t cudaFree(void *p) {
    using namespace lf_emulated;
    auto found = allocations.find(p);
    if (found == allocations.end()) return p ? fail(cudaErrorInvalidValue) : cudaSuccess;
    used[found->second.first] -= found->second.second;
    allocations.erase(found);
    free(p);
    return cudaSuccess;
}
template <class T> cudaError_t cudaMallocHost(T **p, size_t size) {
    *p = (T *)malloc(size);
    return *p ? cudaSuccess : lf_emulated::fail(cudaErrorMemoryAllocation);
}
static inline cudaError_t cudaFreeHost(void *p) { return free(p), cudaSuccess; }
static inline cudaError_t cudaHostRegister(void *, size_t, unsigned) { return cudaSuccess; }
static inline cudaError_t cudaHostUnregister(void *) { return cudaSuccess; }
static inline cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned) {
    *device = host;
    return cudaSuccess;
}
static inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned) {
    *s = new lf_emulated_stream{0};
    return cudaSuccess;
}
static inline cudaError_t cudaStreamDestroy(cudaStream_t s) { return delete s, cudaSuccess; }
static inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
static inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned) { return *e = 0, cudaSuccess; }
static inline cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
static inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
static inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
static inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind, cudaStream_t s) {
    lf_emulated::perform(s, [=] { memmove(to, from, n); });
    return cudaSuccess;
}
static inline cudaError_t cudaMemsetAsync(void *to, int value, size_t n, cudaStream_t s) {
    lf_emulated::perform(s, [=] { memset(to, value, n); });
    return cudaSuccess;
}
template <class F> cudaError_t cudaFuncSetAttribute(F *kernel, cudaFuncAttribute, int value) {
    if (value > lf_emulated::MOST_SHARED) return lf_emulated::fail(cudaErrorInvalidValue);
    lf_emulated::allowed_shared[(const void *)kernel] = (size_t)value;
    return cudaSuccess;
}
static inline cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
    s->recording = new std::vector<std::function<void()>>;
    return cudaSuccess;
}
static inline cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g) {
    *g = s->recording;
    s->recording = 0;
    return cudaSuccess;
}
static inline cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long) {
    *e = new std::vector<std::function<void()>>(*g);
    return cudaSuccess;
}
static inline cudaError_t cudaGraphDestroy(cudaGraph_t g) { return delete g, cudaSuccess; }
static inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) { return delete e, cudaSuccess; }
static inline cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t) {
    for (auto &step : *e) step();
    return cudaSuccess;
}
