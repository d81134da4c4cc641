/* The same operations in C over the installed MPI. Each rank reads commands from its own pipe, so that it sleeps between them:
 *   OP BYTES ITERATIONS BATCHES
 * and rank 0 answers with one line of JSON: the seconds of one call in the fastest batch. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *buffer(size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, 128, bytes + 128)) abort();
  memset(p, 1, bytes);
  return p;
}

int main(int argc, char **argv) {
  int rank, size;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  char path[4096];
  snprintf(path, sizeof path, "%s.%d", argv[1], rank);
  FILE *commands = fopen(path, "r");
  if (!commands) MPI_Abort(MPI_COMM_WORLD, 2);
  char op[32];
  long bytes;
  int iterations, batches;
  while (fscanf(commands, "%31s %ld %d %d", op, &bytes, &iterations, &batches) == 4) {
    int copies = !strcmp(op, "memcpy");
    char *in = buffer(bytes * size), *out = buffer(bytes * size);
    int counts[size], offsets[size];
    for (int i = 0; i < size; i++) {
      counts[i] = !strcmp(op, "exchange") && i == rank ? 0 : (int)bytes;
      offsets[i] = (int)(i * bytes);
    }
    double best = 1e9;
    for (int batch = -1; batch < batches; batch++) {
      if (!copies) MPI_Barrier(MPI_COMM_WORLD);
      double start = MPI_Wtime();
      for (int i = 0; i < iterations; i++) {
        if (!strcmp(op, "allToAll") || !strcmp(op, "exchange")) {
          MPI_Alltoallv(in, counts, offsets, MPI_BYTE, out, counts, offsets, MPI_BYTE, MPI_COMM_WORLD);
        } else if (!strcmp(op, "allReduce")) {
          MPI_Allreduce(in, out, (int)(bytes / 4), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        } else if (!strcmp(op, "barrier")) {
          MPI_Barrier(MPI_COMM_WORLD);
        } else if (rank == 0) {
          memcpy(out, in, bytes);
          __asm__ volatile("" : : "r"(out) : "memory");
        }
      }
      /* The first batch warms up. */
      double seconds = (MPI_Wtime() - start) / iterations;
      if (batch >= 0 && seconds < best) best = seconds;
    }
    if (rank == 0) {
      printf("{\"seconds\":%.12g}\n", best);
      fflush(stdout);
    }
    free(in);
    free(out);
  }
  MPI_Finalize();
  return 0;
}
