/* Head of an executable with CPython linked in: open the own file, then run Python on it. */
#include "launcher.h"

int main(int argc, char **argv) {
    static struct lf_self self;
    return lf_self_open(&self, argv) ? 1 : lf_start(argc, argv, &self);
}
