/**
 * A deadline for the initramfs of what is on trial. Nothing of ours is in an initramfs, whose init may wait for ever for a
 * disk, or in a rescue shell. So the boot loader gives the kernel a second one, which lies over the image's and holds one
 * program: the kernel starts that (`rdinit=`), and it becomes the image's init, having left a child behind. At the deadline
 * the child resets the machine, unless the root has been switched by then: whoever does that deletes the initramfs, or
 * kills what runs in it.
 */

/** Path in the initramfs; also what the child looks for. */
const PROGRAM = '/treeline-init';
const INIT = '/init';

/** The kernel argument that starts the program. */
export const DEADLINE_ARGUMENT = `rdinit=${PROGRAM}`;

/**
 * x86-64, the only processors that syslinux is for. Calls to the kernel alone: an initramfs need not have a shell. Addresses are
 * relative, and the data follows at once; `as` makes these bytes of the remarks.
 */
const CODE = Buffer.from(
  [
    'b839000000', // mov eax, 57              fork()
    '0f05', // syscall
    '85c0', // test eax, eax
    '7428', // jz child
    '488d3d76000000', // lea rdi, [rip+init]
    '48897c2408', // mov [rsp+8], rdi         argv[0]
    '488b0424', // mov rax, [rsp]             argc
    '488d742408', // lea rsi, [rsp+8]         argv
    '488d54c410', // lea rdx, [rsp+rax*8+16]  environment
    'b83b000000', // mov eax, 59              execve(init, argv, environment)
    '0f05', // syscall
    'bf01000000', // mov edi, 1
    'eb3e', // jmp quit
    '488d3d3e000000', // child: lea rdi, [rip+seconds]
    '31f6', // xor esi, esi
    'b823000000', // mov eax, 35              nanosleep(seconds, 0)
    '0f05', // syscall
    '488d3d44000000', // lea rdi, [rip+self]
    '31f6', // xor esi, esi
    'b815000000', // mov eax, 21              access(self, F_OK)
    '0f05', // syscall
    '89c7', // mov edi, eax
    '85c0', // test eax, eax
    '7518', // jnz quit
    'bfaddee1fe', // mov edi, 0xfee1dead
    'be69191228', // mov esi, 672274793
    'ba67452301', // mov edx, 0x1234567
    'b8a9000000', // mov eax, 169             reboot(2), RB_AUTOBOOT
    '0f05', // syscall
    '31ff', // xor edi, edi
    'b83c000000', // quit: mov eax, 60        exit(edi)
    '0f05', // syscall
  ].join(''),
  'hex',
);

/** Where the program is loaded: its whole file, as one segment. */
const ADDRESS = 0x40_0000n;
const FILE_HEADER_BYTES = 64;
const SEGMENT_HEADER_BYTES = 56;

/** elf(5): a static executable of one segment that is read and executed. */
function program(seconds: number): Buffer {
  const time = Buffer.alloc(16);
  time.writeBigUInt64LE(BigInt(seconds));
  const body = Buffer.concat([CODE, time, Buffer.from(`${INIT}\0${PROGRAM}\0`)]);
  const header = Buffer.alloc(FILE_HEADER_BYTES + SEGMENT_HEADER_BYTES);
  const size = BigInt(header.length + body.length);
  // 64 bits, little endian, version 1.
  Buffer.from('7f454c46020101', 'hex').copy(header);
  header.writeUInt16LE(2, 16); // executable
  header.writeUInt16LE(62, 18); // x86-64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(ADDRESS + BigInt(header.length), 24); // where it starts
  header.writeBigUInt64LE(BigInt(FILE_HEADER_BYTES), 32); // where the segment's header is
  header.writeUInt16LE(FILE_HEADER_BYTES, 52);
  header.writeUInt16LE(SEGMENT_HEADER_BYTES, 54);
  header.writeUInt16LE(1, 56);
  const segment = header.subarray(FILE_HEADER_BYTES);
  segment.writeUInt32LE(1, 0); // loaded
  segment.writeUInt32LE(5, 4); // read, execute
  segment.writeBigUInt64LE(ADDRESS, 16);
  segment.writeBigUInt64LE(ADDRESS, 24);
  segment.writeBigUInt64LE(size, 32);
  segment.writeBigUInt64LE(size, 40);
  segment.writeBigUInt64LE(0x1000n, 48);
  return Buffer.concat([header, body]);
}

/** The initramfs that is to lie over the image's: an archive as initramfs-buffer-format of the kernel's documentation has it. */
export function initramfsDeadline(seconds: number): Buffer {
  return Buffer.concat([entry(PROGRAM.slice(1), 0o100755, program(seconds)), entry('TRAILER!!!', 0, Buffer.alloc(0))]);
}

function entry(name: string, mode: number, content: Buffer): Buffer {
  const path = Buffer.from(`${name}\0`);
  // Inode, mode, owner, group, links, time, size, four numbers of devices, length of the name, checksum.
  const fields = [0, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, path.length, 0];
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return padded(Buffer.concat([padded(Buffer.concat([Buffer.from(head), path])), content]));
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
