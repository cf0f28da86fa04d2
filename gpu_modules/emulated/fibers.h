/* Threads of a block as fibers on one stack each, in an order that a seed shuffles: LF_EMULATED_SEED. */
#include <functional>
#include <sys/mman.h>
#include <vector>

namespace lf_emulated {

enum { WARP = 32, MOST_THREADS = 1024, STACK = 256 << 10 };
enum State { READY, AT_WARP, AT_BLOCK, DONE };

struct Fiber {
    void *stack_pointer;
    State state;
    dim3 thread;
};

/* The block that runs: everything the kernel's built-in variables and collectives look at. */
struct Block {
    Fiber fibers[MOST_THREADS];
    char *stacks;
    char *shared; /* dynamic shared memory */
    size_t shared_size;
    /* What each thread shows its warp in a collective; two sets, so that one meeting a collective is enough. */
    uint32_t shown[2][MOST_THREADS][8];
    uint8_t turn[MOST_THREADS];
    const std::function<void()> *body;
    void *scheduler;
    int count, current;
    dim3 index, block, grid;
};

inline Block now;
inline uint64_t random_state;

/* A number below n; always 0 where no seed was given. */
inline unsigned any_below(unsigned n) {
    if (!random_state) return 0;
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((random_state >> 33) % n);
}

/* 0 .. n - 1, shuffled where there is a seed. */
inline void fill_order(std::vector<int> &order, int n) {
    order.resize((size_t)n);
    for (int i = 0; i < n; i++) order[(size_t)i] = i;
    for (int i = n - 1; random_state && i > 0; i--) std::swap(order[(size_t)i], order[any_below((unsigned)i + 1)]);
}

extern "C" void lf_emulated_switch(void **from, void *to);
#if defined(__x86_64__)
__asm__(".text\n.type lf_emulated_switch,@function\nlf_emulated_switch:\n"
        "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");
enum { SAVED = 6, RETURN = 6, FRAME = 8 };
#elif defined(__aarch64__)
__asm__(".text\n.type lf_emulated_switch,%function\nlf_emulated_switch:\n"
        "stp x29,x30,[sp,#-160]!\nstp x19,x20,[sp,#16]\nstp x21,x22,[sp,#32]\nstp x23,x24,[sp,#48]\n"
        "stp x25,x26,[sp,#64]\nstp x27,x28,[sp,#80]\nstp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\n"
        "stp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\nmov x2,sp\nstr x2,[x0]\nmov sp,x1\n"
        "ldp d14,d15,[sp,#144]\nldp d12,d13,[sp,#128]\nldp d10,d11,[sp,#112]\nldp d8,d9,[sp,#96]\n"
        "ldp x27,x28,[sp,#80]\nldp x25,x26,[sp,#64]\nldp x23,x24,[sp,#48]\nldp x21,x22,[sp,#32]\n"
        "ldp x19,x20,[sp,#16]\nldp x29,x30,[sp],#160\nret\n");
enum { RETURN = 1, FRAME = 20 };
#else
#error "the emulated device knows x86-64 and aarch64"
#endif

inline void leave(State state) {
    Fiber &f = now.fibers[now.current];
    f.state = state;
    lf_emulated_switch(&f.stack_pointer, now.scheduler);
}

inline void enter() {
    (*now.body)();
    leave(DONE);
    abort();
}

inline void prepare(int i) {
    void **top = (void **)(now.stacks + (size_t)(i + 1) * STACK) - 2; /* a call pushes 8 bytes below a multiple of 16 */
    void **frame = top - FRAME;
    memset(frame, 0, sizeof(void *) * FRAME);
    frame[RETURN] = (void *)enter;
    now.fibers[i].stack_pointer = frame;
    now.fibers[i].state = READY;
    now.turn[i] = 0;
}

inline void stop(const char *what) {
    fprintf(stderr, "cuda-emulated: block %u,%u,%u: %s\n", now.index.x, now.index.y, now.index.z, what);
    abort();
}

/* Run the ready lanes of a warp until each waits or is done; then let them past a collective that all have reached. */
inline void run_warp(int first, const std::vector<int> &lanes) {
    for (int lane : lanes) {
        int i = first + lane;
        if (i >= now.count || now.fibers[i].state != READY) continue;
        now.current = i;
        lf_emulated_switch(&now.scheduler, now.fibers[i].stack_pointer);
    }
    int waiting = 0, elsewhere = 0;
    for (int i = first; i < first + WARP && i < now.count; i++) {
        waiting += now.fibers[i].state == AT_WARP;
        elsewhere += now.fibers[i].state == AT_BLOCK;
    }
    if (waiting && elsewhere) stop("lanes of one warp wait at different places");
    for (int i = first; waiting && i < first + WARP && i < now.count; i++)
        if (now.fibers[i].state == AT_WARP) now.fibers[i].state = READY;
}

inline bool is_ready(int first) {
    for (int i = first; i < first + WARP && i < now.count; i++)
        if (now.fibers[i].state == READY) return true;
    return false;
}

inline void run_block(const std::vector<int> &lanes) {
    for (int i = 0; i < now.count; i++) prepare(i);
    int warps = (now.count + WARP - 1) / WARP;
    for (;;) {
        bool moved = false;
        int start = (int)any_below((unsigned)warps);
        for (int w = 0; w < warps; w++) {
            int first = (w + start) % warps * WARP;
            /* With a seed a warp may stop half-way, so that warps mix between two barriers. */
            while (is_ready(first)) {
                run_warp(first, lanes);
                moved = true;
                if (random_state && any_below(4) == 0) break;
            }
        }
        if (moved) continue;
        int waiting = 0, done = 0;
        for (int i = 0; i < now.count; i++) {
            waiting += now.fibers[i].state == AT_BLOCK;
            done += now.fibers[i].state == DONE;
        }
        if (!waiting) return;
        if (waiting + done != now.count) stop("__syncthreads was not reached by every thread");
        for (int i = 0; i < now.count; i++)
            if (now.fibers[i].state == AT_BLOCK) now.fibers[i].state = READY;
    }
}

/* Run a grid to its end. */
inline void run_grid(dim3 grid, dim3 block, size_t shared, const std::function<void()> &body) {
    static char *stacks, *room;
    if (!stacks) {
        size_t bytes = (size_t)STACK * MOST_THREADS;
        stacks = (char *)mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        room = (char *)aligned_alloc(1024, 256 << 10);
        if (stacks == MAP_FAILED || !room) abort();
        const char *seed = getenv("LF_EMULATED_SEED");
        random_state = seed ? strtoull(seed, 0, 10) * 2654435761u : 0;
    }
    now.stacks = stacks, now.shared = room, now.shared_size = shared;
    now.count = (int)(block.x * block.y * block.z), now.block = block, now.grid = grid, now.body = &body;
    unsigned at = 0;
    for (unsigned z = 0; z < block.z; z++)
        for (unsigned y = 0; y < block.y; y++)
            for (unsigned x = 0; x < block.x; x++) now.fibers[at++].thread = dim3(x, y, z);
    std::vector<int> blocks, lanes;
    fill_order(blocks, (int)(grid.x * grid.y * grid.z));
    for (int b : blocks) {
        unsigned i = (unsigned)b;
        now.index = dim3(i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y);
        memset(room, 0xff, shared); /* no number: what is read before it was written shows */
        fill_order(lanes, WARP);
        run_block(lanes);
    }
}

} // namespace lf_emulated

#define threadIdx (lf_emulated::now.fibers[lf_emulated::now.current].thread)
#define blockIdx (lf_emulated::now.index)
#define blockDim (lf_emulated::now.block)
#define gridDim (lf_emulated::now.grid)
