/* The Metal module: buffers in memory that processor and GPU share, and one command buffer a stretch of ops. */
#import <Foundation/Foundation.h>
#import <Metal/Metal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "formats.h"
#include "abi.h"
#include "dispatch.h"

/* The shader text travels in the library and is compiled by the system that runs it. */
#define LF_EMBED(name, file)                                                                                  \
    __asm__(".section __TEXT,__const\n.globl _lf_text_" #name "\n_lf_text_" #name ":\n.incbin \"" LF_SOURCES "/" file \
            "\"\n.byte 0\n.text\n");                                                                          \
    extern const char lf_text_##name[];
#define LF_TEXTS(X)                                                                                           \
    X(formats, "gpu_modules/generated/formats.h") X(arguments, "gpu_modules/metal/arguments.h")               \
    X(common, "gpu_modules/metal/common.metal") X(elementwise, "gpu_modules/metal/elementwise.metal")         \
    X(norm, "gpu_modules/metal/norm.metal") X(rows, "gpu_modules/metal/rows.metal")                           \
    X(attention, "gpu_modules/metal/attention.metal") X(matmul, "gpu_modules/metal/matmul.metal")             \
    X(experts, "gpu_modules/metal/experts.metal")
LF_TEXTS(LF_EMBED)

/* Memory that the GPU sees: kernels are told a buffer and an offset, the rest of the program the address alone. */
typedef struct {
    void *buffer; /* id<MTLBuffer>, retained */
    char *address;
    int64_t size;
} lf_region;

struct lf_device {
    void *device, *queue, *library, *pipelines, *last; /* of Metal, retained; `last` is what was committed last */
    lf_region *regions;
    int n_regions, room;
    int64_t used;
};

static int32_t lf_count(void) {
    @autoreleasepool {
        return MTLCreateSystemDefaultDevice() ? 1 : 0;
    }
}

static void lf_say(NSString *text, char *fault, int size) {
    if (size > 0) snprintf(fault, (size_t)size, "%s", text ? text.UTF8String : "Metal gives no reason");
}

static void *lf_keep(id object) { return (void *)CFBridgingRetain(object); }
static void lf_drop(void *object) {
    if (object) CFRelease(object);
}

static id<MTLLibrary> lf_compile(id<MTLDevice> device, char *fault, int size) {
    NSMutableString *text = [NSMutableString string];
#define LF_APPEND(name, file) [text appendString:[NSString stringWithUTF8String:lf_text_##name]];
    LF_TEXTS(LF_APPEND)
    MTLCompileOptions *options = [MTLCompileOptions new];
    options.fastMathEnabled = NO; /* numbers that are none, and the angles of far positions, must stay right */
    NSError *error = nil;
    id<MTLLibrary> library = [device newLibraryWithSource:text options:options error:&error];
    if (!library) lf_say(error.localizedDescription, fault, size);
    return library;
}

static void lf_close(lf_device *d) {
    if (!d) return;
    for (int i = 0; i < d->n_regions; i++) lf_drop(d->regions[i].buffer);
    lf_drop(d->last), lf_drop(d->pipelines), lf_drop(d->library), lf_drop(d->queue), lf_drop(d->device);
    free(d->regions);
    free(d);
}

static lf_device *lf_open(int index, char *fault, int size) {
    @autoreleasepool {
        id<MTLDevice> device = index ? nil : MTLCreateSystemDefaultDevice();
        if (!device) return lf_say(@"there is no such GPU", fault, size), (lf_device *)0;
        id<MTLLibrary> library = lf_compile(device, fault, size);
        if (!library) return 0;
        lf_device *d = calloc(1, sizeof *d);
        if (!d) return lf_say(@"out of memory", fault, size), (lf_device *)0;
        d->device = lf_keep(device), d->library = lf_keep(library);
        d->queue = lf_keep([device newCommandQueue]), d->pipelines = lf_keep([NSMutableDictionary dictionary]);
        return d;
    }
}

static int lf_memory(lf_device *d, lf_device_facts *facts) {
    @autoreleasepool {
        id<MTLDevice> device = (__bridge id<MTLDevice>)d->device;
        memset(facts, 0, sizeof *facts);
        snprintf(facts->name, sizeof facts->name, "%s", device.name.UTF8String);
        snprintf(facts->arch, sizeof facts->arch, "apple");
        facts->total = (int64_t)device.recommendedMaxWorkingSetSize;
        facts->available = facts->total - (int64_t)device.currentAllocatedSize;
        return 0;
    }
}

static int lf_sync(lf_device *d, char *fault, int size) {
    @autoreleasepool {
        if (!d->last) return 0;
        id<MTLCommandBuffer> last = (__bridge id<MTLCommandBuffer>)d->last;
        [last waitUntilCompleted];
        NSError *error = last.status == MTLCommandBufferStatusError ? last.error : nil;
        if (error) lf_say(error.localizedDescription, fault, size);
        lf_drop(d->last);
        d->last = 0;
        return error ? -1 : 0;
    }
}

/* With `host`, the pages in place: that is why weights lie on whole pages. */
static void *lf_alloc(lf_device *d, const void *host, int64_t size) {
    @autoreleasepool {
        id<MTLDevice> device = (__bridge id<MTLDevice>)d->device;
        if (size <= 0 || (uint64_t)size > device.maxBufferLength) return 0;
        if (d->n_regions == d->room) {
            lf_region *more = realloc(d->regions, sizeof *more * (size_t)(d->room + 64));
            if (!more) return 0;
            d->regions = more, d->room += 64;
        }
        id<MTLBuffer> buffer;
        if (host) {
            if ((uintptr_t)host % (uintptr_t)getpagesize() || size % getpagesize()) return 0;
            buffer = [device newBufferWithBytesNoCopy:(void *)(uintptr_t)host length:(NSUInteger)size
                                              options:MTLResourceStorageModeShared deallocator:nil];
        } else {
            buffer = [device newBufferWithLength:(NSUInteger)size + 256 options:MTLResourceStorageModeShared];
        }
        if (!buffer) return 0;
        d->regions[d->n_regions++] = (lf_region){lf_keep(buffer), buffer.contents, (int64_t)buffer.length};
        return buffer.contents;
    }
}

static void lf_release(lf_device *d, void *address) {
    char none[8];
    lf_sync(d, none, sizeof none);
    for (int i = 0; i < d->n_regions; i++) {
        if (d->regions[i].address != address) continue;
        lf_drop(d->regions[i].buffer);
        d->regions[i] = d->regions[--d->n_regions];
        return;
    }
}

/* The memory is one: what the host does must only wait for what was asked before. */
static int lf_move(lf_device *d, void *to, const void *from, int64_t size, char *fault, int fault_size) {
    if (lf_sync(d, fault, fault_size)) return -1;
    memmove(to, from, (size_t)size);
    return 0;
}

static id<MTLComputePipelineState> lf_pipeline(lf_device *d, const char *name, char *fault, int size) {
    NSMutableDictionary *known = (__bridge NSMutableDictionary *)d->pipelines;
    NSString *key = [NSString stringWithUTF8String:name];
    id<MTLComputePipelineState> found = known[key];
    if (found) return found;
    NSError *error = nil;
    id<MTLFunction> function = [(__bridge id<MTLLibrary>)d->library newFunctionWithName:key];
    if (function) found = [(__bridge id<MTLDevice>)d->device newComputePipelineStateWithFunction:function error:&error];
    if (!found) return lf_say(error ? error.localizedDescription : key, fault, size), nil;
    known[key] = found;
    return found;
}

/* Bind an address as the buffer that it lies in and an offset; -1 where it lies in none. */
static int lf_bind(lf_device *d, id<MTLComputeCommandEncoder> encoder, const char *address, int slot) {
    for (int i = 0; i < d->n_regions; i++) {
        const lf_region *r = &d->regions[i];
        if (address && (address < r->address || address >= r->address + r->size)) continue;
        NSUInteger offset = address ? (NSUInteger)(address - r->address) : 0; /* what is not given gets anything */
        [encoder setBuffer:(__bridge id<MTLBuffer>)r->buffer offset:offset atIndex:(NSUInteger)slot];
        return 0;
    }
    return -1;
}

static int lf_encode(lf_device *d, id<MTLComputeCommandEncoder> encoder, const lf_op *op, const lf_stretch_of_ops *what, char *fault,
                     int size) {
    lf_arguments a;
    void *data[LF_MOST];
    lf_launch l;
    if (!lf_prepare_launch(op, what->views, what->pool, &a, data, &l)) return 0;
    id<MTLComputePipelineState> pipeline = lf_pipeline(d, l.kernel, fault, size);
    if (!pipeline) return -1;
    if (l.threads > pipeline.maxTotalThreadsPerThreadgroup) return lf_say(@"a kernel takes too many registers", fault, size), -1;
    [encoder setComputePipelineState:pipeline];
    [encoder setBytes:&a length:sizeof a atIndex:0];
    for (int i = 0; i + 1 < LF_MOST; i++)
        if (lf_bind(d, encoder, data[i], i + 1)) return lf_say(@"an operand lies in no buffer", fault, size), -1;
    [encoder setThreadgroupMemoryLength:(l.room + 31) / 16 * 16 atIndex:0];
    [encoder dispatchThreadgroups:MTLSizeMake(l.groups[0], l.groups[1], 1) threadsPerThreadgroup:MTLSizeMake(l.threads, 1, 1)];
    return 0;
}

static int lf_run(lf_device *d, const lf_stretch_of_ops *what, char *fault, int size) {
    @autoreleasepool {
        id<MTLCommandBuffer> commands = [(__bridge id<MTLCommandQueue>)d->queue commandBuffer];
        id<MTLComputeCommandEncoder> encoder = [commands computeCommandEncoder]; /* serial: an op sees what the one before wrote */
        int wrong = commands && encoder ? 0 : (lf_say(@"no command buffer", fault, size), -1);
        for (int i = 0; i < what->n_ops && !wrong; i++) wrong = lf_encode(d, encoder, &what->ops[i], what, fault, size);
        [encoder endEncoding];
        if (wrong) return -1;
        [commands commit];
        lf_drop(d->last);
        d->last = lf_keep(commands);
        return 0;
    }
}

__attribute__((visibility("default"))) const lf_module *lf_module_table(void) {
    static const lf_module table = {LF_ABI, "metal", lf_count, lf_open, lf_close, lf_memory, lf_alloc, lf_release, lf_move,
                                    lf_move, lf_move, lf_run, lf_serves, lf_sync};
    return &table;
}
