savedcmd_arch/x86/ringlet/modules.order := {  :; } > arch/x86/ringlet/modules.order
