/* Runs steps on a Windows machine for `halo_forge.sandbox.ssh`, each in a job object of its own.

   It is compiled on that machine by the compiler that is there to be used, and serves one channel:

     request   WALL CPU MEMORY PROCESSES OUTPUT DIRECTORY COMMAND STDIN\n   milliseconds, bytes; the
               last three are sizes of the blobs that follow: directory and command line in UTF-8
     answer    HOW CODE CPU WALL PEAK LEFT STDOUT STDERR\n   and the two blobs

   HOW is "ended", "wall", "cpu", "output", or "missing" when there is no such program. When the
   channel ends so does this program, and with its handles everything in the job object.
   https://learn.microsoft.com/windows/win32/procthread/job-objects */

#define _WIN32_WINNT 0x0601
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _MSC_VER
#pragma comment(lib, "user32.lib")
#define COMPILER _MSC_FULL_VER
#else
#define COMPILER 0
#endif

enum { TICK = 10, BLOBS = 3 };

typedef struct {
    HANDLE pipe, overflow;
    char *data;
    DWORD size, room;
} Stream;

typedef struct {
    unsigned long long wall, cpu, memory;
    unsigned processes, output;
    char *directory, *command, *input;
    unsigned sizes[BLOBS];
} Request;

static void fail(const char *what) {
    fprintf(stderr, "launcher: %s: error %lu\n", what, GetLastError());
    exit(3);
}

static void *reserve(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL) fail("malloc");
    return memory;
}

/* Keep what fits; go on reading what does not, until somebody ends the step for it. */
static DWORD WINAPI drain(LPVOID argument) {
    Stream *stream = argument;
    char part[65536];
    DWORD got;
    while (ReadFile(stream->pipe, part, sizeof part, &got, NULL) && got > 0) {
        DWORD room = stream->room - stream->size;
        DWORD kept = got < room ? got : room;
        memcpy(stream->data + stream->size, part, kept);
        stream->size += kept;
        if (got > room) SetEvent(stream->overflow);
    }
    CloseHandle(stream->pipe);
    return 0;
}

static DWORD WINAPI feed(LPVOID argument) {
    Stream *stream = argument;
    DWORD sent = 0, now;
    while (sent < stream->size
           && WriteFile(stream->pipe, stream->data + sent, stream->size - sent, &now, NULL))
        sent += now;
    CloseHandle(stream->pipe);
    return 0;
}

static wchar_t *wide(const char *text) {
    int size = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    wchar_t *result = reserve(sizeof(wchar_t) * (size_t)size);
    MultiByteToWideChar(CP_UTF8, 0, text, -1, result, size);
    return result;
}

/* A pipe whose one end is for the program and the other for nobody but us. */
static void open_pipe(HANDLE *reader, HANDLE *writer, HANDLE *ours) {
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    if (!CreatePipe(reader, writer, &inherited, 1 << 16)) fail("CreatePipe");
    if (!SetHandleInformation(*ours, HANDLE_FLAG_INHERIT, 0)) fail("SetHandleInformation");
}

static HANDLE open_job(const Request *request) {
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    HANDLE job = CreateJobObjectW(NULL, NULL);
    if (job == NULL) fail("CreateJobObject");
    limits.BasicLimitInformation.LimitFlags =
        JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION
        | JOB_OBJECT_LIMIT_ACTIVE_PROCESS | JOB_OBJECT_LIMIT_JOB_MEMORY;
    limits.BasicLimitInformation.ActiveProcessLimit = request->processes;
    limits.JobMemoryLimit = (SIZE_T)request->memory;
    if (!SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits))
        fail("SetInformationJobObject");
    return job;
}

static unsigned long long milliseconds(FILETIME kernel, FILETIME user) {
    unsigned long long ticks = ((unsigned long long)kernel.dwHighDateTime << 32)
        + kernel.dwLowDateTime + ((unsigned long long)user.dwHighDateTime << 32)
        + user.dwLowDateTime;
    return ticks / 10000;
}

/* Time of the whole job; of its first process where the system does not add it up. */
static unsigned long long time_used(HANDLE job, HANDLE process, DWORD *alive) {
    JOBOBJECT_BASIC_ACCOUNTING_INFORMATION sums = {0};
    FILETIME created, ended, kernel, user;
    unsigned long long used = 0, own = 0;
    if (QueryInformationJobObject(job, JobObjectBasicAccountingInformation, &sums, sizeof sums,
                                  NULL)) {
        used = (unsigned long long)(sums.TotalUserTime.QuadPart + sums.TotalKernelTime.QuadPart)
            / 10000;
        *alive = sums.ActiveProcesses;
    }
    if (GetProcessTimes(process, &created, &ended, &kernel, &user))
        own = milliseconds(kernel, user);
    return used > own ? used : own;
}

static unsigned long long peak_memory(HANDLE job) {
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION found = {0};
    QueryInformationJobObject(job, JobObjectExtendedLimitInformation, &found, sizeof found, NULL);
    return found.PeakJobMemoryUsed;
}

static void answer(const char *how, unsigned long code, unsigned long long cpu,
                   unsigned long long wall, unsigned long long peak, unsigned long left,
                   const Stream *out, const Stream *err) {
    printf("%s %lu %llu %llu %llu %lu %lu %lu\n", how, code, cpu, wall, peak, left, out->size,
           err->size);
    fwrite(out->data, 1, out->size, stdout);
    fwrite(err->data, 1, err->size, stdout);
    fflush(stdout);
}

static const char *watch(const Request *request, HANDLE job, HANDLE process, HANDLE overflow) {
    HANDLE events[2] = {process, overflow};
    ULONGLONG start = GetTickCount64();
    DWORD alive = 0;
    for (;;) {
        DWORD found = WaitForMultipleObjects(2, events, FALSE, TICK);
        if (found == WAIT_OBJECT_0 + 1) return "output";
        if (found == WAIT_OBJECT_0) return "ended";
        if (found == WAIT_FAILED) fail("WaitForMultipleObjects");
        if (time_used(job, process, &alive) > request->cpu) return "cpu";
        if (GetTickCount64() - start > request->wall) return "wall";
    }
}

static void run(const Request *request) {
    Stream in = {0}, out = {0}, err = {0};
    HANDLE theirs[3], threads[3], job = open_job(request);
    HANDLE overflow = CreateEventW(NULL, TRUE, FALSE, NULL);
    STARTUPINFOW start = {0};
    PROCESS_INFORMATION program;
    wchar_t *directory = wide(request->directory), *command = wide(request->command);
    ULONGLONG began = GetTickCount64();
    const char *how = "missing";
    unsigned long long used = 0;
    DWORD code = 0, alive = 0;

    out.room = err.room = request->output;
    out.overflow = err.overflow = overflow;
    out.data = reserve(out.room + 1);
    err.data = reserve(err.room + 1);
    in.data = request->input;
    in.size = request->sizes[2];
    open_pipe(&theirs[0], &in.pipe, &in.pipe);
    open_pipe(&out.pipe, &theirs[1], &out.pipe);
    open_pipe(&err.pipe, &theirs[2], &err.pipe);
    start.cb = sizeof start;
    start.dwFlags = STARTF_USESTDHANDLES;
    start.hStdInput = theirs[0];
    start.hStdOutput = theirs[1];
    start.hStdError = theirs[2];
    if (!CreateProcessW(NULL, command, NULL, NULL, TRUE, CREATE_SUSPENDED | CREATE_NO_WINDOW, NULL,
                        directory, &start, &program)) {
        answer(how, GetLastError(), 0, 0, 0, 0, &out, &err);
        for (int i = 0; i < 3; i++) CloseHandle(theirs[i]);
        CloseHandle(in.pipe), CloseHandle(out.pipe), CloseHandle(err.pipe);
    } else {
        if (!AssignProcessToJobObject(job, program.hProcess)) {
            TerminateProcess(program.hProcess, 1);
            fail("AssignProcessToJobObject");
        }
        for (int i = 0; i < 3; i++) CloseHandle(theirs[i]);
        threads[0] = CreateThread(NULL, 0, feed, &in, 0, NULL);
        threads[1] = CreateThread(NULL, 0, drain, &out, 0, NULL);
        threads[2] = CreateThread(NULL, 0, drain, &err, 0, NULL);
        ResumeThread(program.hThread);
        how = watch(request, job, program.hProcess, overflow);
        used = time_used(job, program.hProcess, &alive);
        TerminateJobObject(job, 1); /* whatever it started, too; this also ends the threads */
        WaitForSingleObject(program.hProcess, INFINITE);
        GetExitCodeProcess(program.hProcess, &code);
        WaitForMultipleObjects(3, threads, TRUE, INFINITE);
        if (how[0] == 'e' && WaitForSingleObject(overflow, 0) == WAIT_OBJECT_0) how = "output";
        answer(how, code, used, GetTickCount64() - began, peak_memory(job), alive, &out, &err);
        for (int i = 0; i < 3; i++) CloseHandle(threads[i]);
        CloseHandle(program.hThread), CloseHandle(program.hProcess);
    }
    CloseHandle(job), CloseHandle(overflow);
    free(out.data), free(err.data), free(directory), free(command);
}

static char *read_blob(unsigned size) {
    char *blob = reserve((size_t)size + 1);
    if (fread(blob, 1, size, stdin) != size) exit(0);
    blob[size] = '\0';
    return blob;
}

int main(void) {
    char line[256];
    Request request;
    /* What a program inherits, a program can write to: not our channel. */
    SetHandleInformation(GetStdHandle(STD_INPUT_HANDLE), HANDLE_FLAG_INHERIT, 0);
    SetHandleInformation(GetStdHandle(STD_OUTPUT_HANDLE), HANDLE_FLAG_INHERIT, 0);
    SetHandleInformation(GetStdHandle(STD_ERROR_HANDLE), HANDLE_FLAG_INHERIT, 0);
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX); /* no dialogue that waits */
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
    printf("halo-forge launcher %d\n", COMPILER);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%llu %llu %llu %u %u %u %u %u", &request.wall, &request.cpu,
                   &request.memory, &request.processes, &request.output, &request.sizes[0],
                   &request.sizes[1], &request.sizes[2]) != 8)
            fail("a request that is none");
        request.directory = read_blob(request.sizes[0]);
        request.command = read_blob(request.sizes[1]);
        request.input = read_blob(request.sizes[2]);
        run(&request);
        free(request.directory), free(request.command), free(request.input);
    }
    return 0;
}
