savedcmd_arch/x86/ringlet/built-in.a := rm -f arch/x86/ringlet/built-in.a;  ar cDPrST arch/x86/ringlet/built-in.a
