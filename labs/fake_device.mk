# SPDX-License-Identifier: GPL-2.0
# How the programs of labs 10 and 11 are built.

CFLAGS := -std=gnu11 -Wall -Wextra -Werror -O1 -g -D_GNU_SOURCE -DCHAPTER=$(CHAPTER) -pthread -I$(TREE)/launcher \
	  -I$(TREE)/include -I$(KIT)/labs

# A program that includes a file of the submission's launcher.
launcher-part = $(CC) $(CFLAGS) -Wno-unused-function -static -o $@ $< $(TREE)/launcher/options.c

# Our O= must not reach the kernel's makefiles.
$(O)/%.ko: %.c $(KIT)/labs/fake_device.h
	mkdir -p $(O)/module
	cp $^ $(O)/module
	echo 'obj-m := $*.o' > $(O)/module/Kbuild
	env -u MAKEFLAGS $(MAKE) -C $(LINUX) M=$(O)/module modules
	cp $(O)/module/$*.ko $@

$(shell mkdir -p $(O))
