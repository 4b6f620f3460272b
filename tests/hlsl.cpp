// Compiles HLSL as Windows does: hlsl.exe LIST. A line of LIST is a file, a profile, and the compiler, fxc or dxc, whose
// libraries lie beside the program. Built and run by tests/hlsl.sh. The exit code says whether all were accepted. A file that
// takes longer than a minute ends the run: a program that waited for it would look as if it hung.
#include <windows.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <vector>

// What is used of the interfaces, in the order of their tables.
struct Blob : IUnknown {
    virtual void *WINAPI GetBufferPointer() = 0;
    virtual SIZE_T WINAPI GetBufferSize() = 0;
};
struct Result : IUnknown {
    virtual HRESULT WINAPI GetStatus(HRESULT *) = 0;
    virtual HRESULT WINAPI GetResult(Blob **) = 0;
    virtual HRESULT WINAPI GetErrorBuffer(Blob **) = 0;
};
struct Source {
    const void *text;
    SIZE_T size;
    UINT encoding;
};
struct Compiler : IUnknown {
    virtual HRESULT WINAPI Compile(const Source *, LPCWSTR *, UINT, void *, REFIID, void **) = 0;
};
typedef HRESULT(WINAPI *D3DCompile)(const void *, SIZE_T, const char *, const void *, void *, const char *,
                                    const char *, UINT, UINT, Blob **, Blob **);
typedef HRESULT(WINAPI *DxcCreateInstance)(REFCLSID, REFIID, void **);

static const GUID COMPILER_CLASS = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const GUID COMPILER_3 = {0x228B4687, 0x5A6A, 0x4730, {0x90, 0x0C, 0x97, 0x02, 0xB2, 0x20, 0x3F, 0x54}};
static const GUID RESULT = {0x58346CDA, 0xDDE7, 0x4497, {0x94, 0x61, 0x6F, 0x87, 0xAF, 0x5E, 0x06, 0x59}};
static const UINT STRICTNESS = 0x800; // D3DCOMPILE_ENABLE_STRICTNESS
static const UINT UTF8 = 65001;

static std::string read(const char *path) {
    std::string text;
    if (FILE *file = fopen(path, "rb")) {
        char part[65536];
        for (size_t size; (size = fread(part, 1, sizeof part, file)) > 0;) text.append(part, size);
        fclose(file);
    }
    return text;
}

static std::string said(Blob *blob) {
    return blob ? std::string((const char *)blob->GetBufferPointer(), blob->GetBufferSize()) : "";
}

// Whether FXC accepts it.
static bool fxc(D3DCompile compile, const std::string &text, const char *path, const char *profile, std::string *why) {
    Blob *code = nullptr, *errors = nullptr;
    HRESULT done = compile(text.data(), text.size(), path, nullptr, nullptr, "main", profile, STRICTNESS, 0, &code, &errors);
    *why = said(errors);
    return SUCCEEDED(done) && code && code->GetBufferSize() > 0;
}

// Whether DXC does.
static bool dxc(Compiler *compiler, const std::string &text, const char *profile, std::string *why) {
    std::wstring wide(profile, profile + std::string(profile).size());
    // The validator is a library of its own, which is not there.
    std::vector<LPCWSTR> arguments = {L"-E", L"main", L"-T", wide.c_str(), L"-Vd", L"-HV", L"2018"};
    if (wide == L"cs_6_2") arguments.push_back(L"-enable-16bit-types");
    Source source = {text.data(), text.size(), UTF8};
    Result *result = nullptr;
    HRESULT done = compiler->Compile(&source, arguments.data(), (UINT)arguments.size(), nullptr, RESULT, (void **)&result);
    if (FAILED(done) || !result) return false;
    HRESULT status = E_FAIL;
    Blob *errors = nullptr;
    result->GetStatus(&status);
    result->GetErrorBuffer(&errors);
    *why = said(errors);
    return SUCCEEDED(status);
}

static const ULONGLONG LIMIT = 60000;
static std::atomic<ULONGLONG> begun_at;
static char path[300], profile[16], by[8];

// Ends the program where a file takes too long; a thread within a compiler cannot be ended safely.
static DWORD WINAPI watch(void *) {
    for (;; Sleep(500)) {
        ULONGLONG begun = begun_at;
        if (!begun || GetTickCount64() - begun < LIMIT) continue;
        printf("%s has not done with %s after %llu s\n", by, path, LIMIT / 1000);
        fflush(stdout);
        TerminateProcess(GetCurrentProcess(), 1);
    }
}

int main(int, char **arguments) {
    HMODULE old = LoadLibraryA("d3dcompiler_47.dll"), recent = LoadLibraryA("dxcompiler.dll");
    auto compile = old ? (D3DCompile)GetProcAddress(old, "D3DCompile") : nullptr;
    auto create = recent ? (DxcCreateInstance)GetProcAddress(recent, "DxcCreateInstance") : nullptr;
    Compiler *compiler = nullptr;
    if (create) create(COMPILER_CLASS, COMPILER_3, (void **)&compiler);
    FILE *list = fopen(arguments[1], "r");
    if (!compile || !compiler || !list) {
        printf("error: no FXC, no DXC, or no list\n");
        return 2;
    }
    CreateThread(nullptr, 0, watch, nullptr, 0, nullptr);
    int accepted = 0, refused = 0, files[2] = {};
    ULONGLONG milliseconds[2] = {};
    while (fscanf(list, "%299s %15s %7s", path, profile, by) == 3) {
        std::string text = read(path), why;
        bool old_one = std::string(by) == "fxc";
        ULONGLONG begun = GetTickCount64();
        begun_at = begun;
        bool good = !text.empty() &&
                    (old_one ? fxc(compile, text, path, profile, &why) : dxc(compiler, text, profile, &why));
        begun_at = 0;
        ULONGLONG took = GetTickCount64() - begun;
        (good ? accepted : refused) += 1;
        files[old_one] += 1;
        milliseconds[old_one] += took;
        if (took > 10000) printf("%s took %llu s for %s\n", by, took / 1000, path);
        if ((accepted + refused) % 100 == 0) printf("%d so far\n", accepted + refused);
        if (!good) printf("%s refuses %s as %s: %s\n", by, path, profile, why.c_str());
        fflush(stdout);
    }
    for (int old_one = 1; old_one >= 0; old_one--)
        printf("%s: %d files in %llu s\n", old_one ? "FXC" : "DXC", files[old_one], milliseconds[old_one] / 1000);
    printf("%d accepted, %d refused\n", accepted, refused);
    // Fewer are a fault of the list, not a success.
    return refused || accepted < 300 ? 1 : 0;
}
