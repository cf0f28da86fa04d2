/* The calls of module.h: memory, copies, and running stretches of ops. */

/* Say what failed; 0 where nothing did. */
static int lf_check(cudaError_t error, const char *what, char *fault, int fault_size) {
    if (error == cudaSuccess) return 0;
    (void)cudaGetLastError();
    if (fault_size > 0) snprintf(fault, (size_t)fault_size, "%s: %s", what, cudaGetErrorString(error));
    return -1;
}

static int32_t lf_count(void) {
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    return n;
}

static void lf_close(lf_device *d) {
    if (!d) return;
    cudaSetDevice(d->index);
    if (d->stream) cudaStreamSynchronize(d->stream);
    for (int i = 0; i < LF_GRAPHS; i++)
        if (d->graphs[i].exec) cudaGraphExecDestroy(d->graphs[i].exec);
    for (int i = 0; i < LF_SLOTS; i++)
        if (d->slot_done[i]) cudaEventDestroy(d->slot_done[i]);
    if (d->slots) cudaFreeHost(d->slots);
    if (d->scratch) cudaFree(d->scratch);
    if (d->stream) cudaStreamDestroy(d->stream);
    free(d);
}

static lf_device *lf_open(int index, char *fault, int fault_size) {
    lf_device *d = (lf_device *)calloc(1, sizeof *d);
    if (!d) return lf_check(cudaErrorMemoryAllocation, "the host", fault, fault_size), (lf_device *)0;
    d->index = index;
    cudaDeviceProp facts;
    int failed = lf_check(cudaSetDevice(index), "choosing the card", fault, fault_size) ||
                 lf_check(cudaGetDeviceProperties(&facts, index), "asking the card", fault, fault_size);
    if (!failed) {
        d->processors = facts.multiProcessorCount, d->major = facts.major, d->minor = facts.minor;
        d->code = lf_code_of(10 * d->major + d->minor);
#ifdef __HIPCC__
        d->shared = (int64_t)facts.sharedMemPerBlock;
#else
        d->shared = (int64_t)facts.sharedMemPerBlockOptin;
#endif
        failed = lf_check(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking), "making a stream", fault, fault_size) ||
                 lf_check(cudaMallocHost(&d->slots, (size_t)LF_SLOTS * LF_SLOT_BYTES), "pinning memory", fault, fault_size);
    }
    for (int i = 0; i < LF_SLOTS && !failed; i++)
        failed = lf_check(cudaEventCreateWithFlags(&d->slot_done[i], cudaEventDisableTiming), "making an event", fault, fault_size);
    if (!failed) return d;
    lf_close(d);
    return 0;
}

static int lf_memory(lf_device *d, lf_device_facts *facts) {
    cudaDeviceProp p;
    size_t available = 0, total = 0;
    if (cudaSetDevice(d->index) != cudaSuccess || cudaGetDeviceProperties(&p, d->index) != cudaSuccess ||
        cudaMemGetInfo(&available, &total) != cudaSuccess) {
        (void)cudaGetLastError();
        return -1;
    }
    memset(facts, 0, sizeof *facts);
    snprintf(facts->name, sizeof facts->name, "%.95s", p.name);
#if defined(__HIPCC__)
    snprintf(facts->arch, sizeof facts->arch, "%.31s", p.gcnArchName);
#else
    snprintf(facts->arch, sizeof facts->arch, "sm_%d%d", p.major, p.minor);
#endif
    facts->total = (int64_t)total, facts->available = (int64_t)available;
    return 0;
}

/* Room behind the end, since kernels read whole pieces of 16 bytes. */
enum { LF_BEHIND = 256 };

static void *lf_alloc(lf_device *d, const void *host, int64_t size) {
    void *address = 0;
    if (cudaSetDevice(d->index) != cudaSuccess || size < 0) return 0;
    if (!host) {
        if (cudaMalloc((char **)&address, (size_t)size + LF_BEHIND) == cudaSuccess) return address;
        (void)cudaGetLastError();
        return 0;
    }
    int place = 0;
    while (place < LF_REGISTERED && d->registered[place]) place++;
    if (place == LF_REGISTERED) return 0;
    if (cudaHostRegister((void *)host, (size_t)size, cudaHostRegisterMapped | cudaHostRegisterReadOnly) == cudaSuccess) {
        if (cudaHostGetDevicePointer(&address, (void *)host, 0) == cudaSuccess && address == host) {
            d->registered[place] = host; /* the same address on both sides: so release can tell */
            return address;
        }
        cudaHostUnregister((void *)host);
    }
    (void)cudaGetLastError();
    return 0;
}

static void lf_release(lf_device *d, void *address) {
    cudaSetDevice(d->index);
    cudaStreamSynchronize(d->stream);
    for (int i = 0; i < LF_REGISTERED; i++)
        if (address && d->registered[i] == address) {
            cudaHostUnregister(address);
            d->registered[i] = 0;
            return;
        }
    cudaFree(address);
}

/* Room for `size` bytes in the pinned slots, which may be overwritten only when what was copied from them is done. */
static char *lf_take_slot(lf_device *d, int64_t size) {
    if (d->slot_used + size > LF_SLOT_BYTES) {
        cudaEventRecord(d->slot_done[d->slot], d->stream);
        d->slot = (d->slot + 1) % LF_SLOTS, d->slot_used = 0;
        cudaEventSynchronize(d->slot_done[d->slot]);
    }
    char *at = d->slots + (int64_t)d->slot * LF_SLOT_BYTES + d->slot_used;
    d->slot_used += (int)((size + 255) / 256 * 256);
    return at;
}

static int lf_upload(lf_device *d, void *to, const void *from, int64_t size, char *fault, int fault_size) {
    if (lf_check(cudaSetDevice(d->index), "upload", fault, fault_size)) return -1;
    for (int64_t at = 0, part; at < size; at += part) {
        part = size - at < (int64_t)LF_SLOT_BYTES ? size - at : (int64_t)LF_SLOT_BYTES;
        char *pinned = lf_take_slot(d, part);
        memcpy(pinned, (const char *)from + at, (size_t)part);
        if (lf_check(cudaMemcpyAsync((char *)to + at, pinned, (size_t)part, cudaMemcpyHostToDevice, d->stream), "upload", fault, fault_size))
            return -1;
    }
    return 0;
}

static int lf_download(lf_device *d, void *to, const void *from, int64_t size, char *fault, int fault_size) {
    if (lf_check(cudaSetDevice(d->index), "download", fault, fault_size)) return -1;
    for (int64_t at = 0, part; at < size; at += part) {
        part = size - at < (int64_t)LF_SLOT_BYTES ? size - at : (int64_t)LF_SLOT_BYTES;
        char *pinned = lf_take_slot(d, part);
        if (lf_check(cudaMemcpyAsync(pinned, (const char *)from + at, (size_t)part, cudaMemcpyDeviceToHost, d->stream), "download",
                     fault, fault_size) ||
            lf_check(cudaStreamSynchronize(d->stream), "download", fault, fault_size))
            return -1;
        memcpy((char *)to + at, pinned, (size_t)part);
    }
    return 0;
}

static int lf_copy(lf_device *d, void *to, const void *from, int64_t size, char *fault, int fault_size) {
    if (!size) return 0;
    return lf_check(cudaSetDevice(d->index), "copy", fault, fault_size) ||
           lf_check(cudaMemcpyAsync(to, from, (size_t)size, cudaMemcpyDeviceToDevice, d->stream), "copy", fault, fault_size) ? -1 : 0;
}

static int lf_sync(lf_device *d, char *fault, int fault_size) {
    return lf_check(cudaSetDevice(d->index), "waiting", fault, fault_size) ||
           lf_check(cudaStreamSynchronize(d->stream), "waiting", fault, fault_size) ? -1 : 0;
}

static void lf_forget_graphs(lf_device *d) {
    for (int i = 0; i < LF_GRAPHS; i++) {
        if (d->graphs[i].exec) cudaGraphExecDestroy(d->graphs[i].exec);
        memset(&d->graphs[i], 0, sizeof d->graphs[i]);
    }
}

/* Launch every op, or with `only_ask` only learn how much scratch they want: nothing may be launched before the scratch is
   there, since a stretch that was broken off could not be begun anew (what it reads may have been overwritten). */
static void lf_launch_all(lf_device *d, const lf_stretch_of_ops *what, bool only_ask) {
    lf_only_ask = only_ask;
    lf_overlap = d->code >= 90; /* older code does not wait */
    lf_device_call call = {};
    call.call.views = what->views;
    call.device = d;
    for (int32_t i = 0, joined; i < what->n_ops && !d->failed; i += joined) {
        joined = lf_launch_joined(&call.call, what, i);
        if (joined) continue;
        lf_entries[what->ops[i].op](&call.call, what->pool + what->ops[i].args);
        joined = 1;
    }
}

/* Launch every op, with as much scratch as any needs. */
static int lf_run_directly(lf_device *d, const lf_stretch_of_ops *what) {
    d->scratch_wanted = 0;
    lf_launch_all(d, what, true);
    if (!d->failed && d->scratch_wanted > d->scratch_size) {
        int64_t size = (d->scratch_wanted + d->scratch_wanted / 4 + 4095) / 4096 * 4096;
        lf_forget_graphs(d); /* they know the old address */
        cudaStreamSynchronize(d->stream);
        if (d->scratch) cudaFree(d->scratch);
        d->scratch = 0, d->scratch_size = 0;
        if (lf_check(cudaMalloc(&d->scratch, (size_t)size), "scratch", d->fault, d->fault_size)) return -1;
        d->scratch_size = size;
    }
    if (!d->failed) lf_launch_all(d, what, false);
    if (d->failed) return -1;
    return lf_check(cudaGetLastError(), "running", d->fault, d->fault_size);
}

/* The place of a stretch among the graphs: its own, or that which was not used for longest. */
static lf_graph *lf_graph_of(lf_device *d, uint64_t same) {
    lf_graph *oldest = &d->graphs[0];
    for (int i = 0; i < LF_GRAPHS; i++) {
        if (d->graphs[i].same == same) return &d->graphs[i];
        if (d->graphs[i].used < oldest->used) oldest = &d->graphs[i];
    }
    if (oldest->exec) cudaGraphExecDestroy(oldest->exec);
    memset(oldest, 0, sizeof *oldest);
    return oldest;
}

/* A stretch that comes a second time is captured, and from then on launched as one. */
static int lf_run(lf_device *d, const lf_stretch_of_ops *what, char *fault, int fault_size) {
    d->fault = fault, d->fault_size = fault_size, d->failed = 0;
    if (lf_check(cudaSetDevice(d->index), "running", fault, fault_size)) return -1;
    if (!what->same) return lf_run_directly(d, what);
    lf_graph *g = lf_graph_of(d, what->same);
    bool known = g->same == what->same;
    g->used = ++d->clock;
    if (!known) {
        g->same = what->same;
        return lf_run_directly(d, what);
    }
    if (!g->exec) {
        cudaGraph_t graph = 0;
        if (lf_check(cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal), "capture", fault, fault_size)) return -1;
        lf_launch_all(d, what, false);
        if (lf_check(cudaStreamEndCapture(d->stream, &graph), "capture", fault, fault_size)) return -1;
        if (!d->failed && cudaGraphInstantiateWithFlags(&g->exec, graph, 0) != cudaSuccess) g->exec = 0;
        cudaGraphDestroy(graph);
        (void)cudaGetLastError();
        if (!g->exec) return d->failed ? -1 : lf_run_directly(d, what);
    }
    return lf_check(cudaGraphLaunch(g->exec, d->stream), "running", fault, fault_size);
}

static int lf_serves(const lf_op *op, const int32_t *args, const lf_tensor *tensors) {
#define DTYPE(operand) (tensors[args[operand]].dtype)
    switch (op->op) {
    case LF_OP_STORE: return lf_encodes(DTYPE(2));
    case LF_OP_ROPE_CELLS: return lf_encodes(DTYPE(1));
    case LF_OP_ATTENTION: return lf_encodes(DTYPE(2)) && lf_encodes(DTYPE(3));
    case LF_OP_EMBED: return lf_is_float(DTYPE(2)) || lf_is_quant(DTYPE(2));
    case LF_OP_MATMUL: case LF_OP_MATMUL_IDS: return lf_is_float(DTYPE(2));
    case LF_OP_MATMUL_QUANTIZED: case LF_OP_MATMUL_IDS_QUANTIZED: return lf_is_quant(DTYPE(2));
    }
#undef DTYPE
    return op->op < LF_COMMON_OPS;
}

#if defined(LF_EMULATED)
#define LF_KIND "cuda-emulated"
#elif defined(__HIPCC__)
#define LF_KIND "hip"
#else
#define LF_KIND "cuda"
#endif

extern "C" __attribute__((visibility("default"))) const lf_module *lf_module_table(void) {
    static const lf_module table = {LF_ABI,    LF_KIND,     lf_count, lf_open, lf_close, lf_memory, lf_alloc,
                                    lf_release, lf_upload, lf_download, lf_copy, lf_run,   lf_serves, lf_sync};
    return &table;
}
