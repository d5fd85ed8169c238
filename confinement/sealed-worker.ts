/**
 * What a confined process runs first: it gives up the system calls that it does not need, in all of its threads, and then
 * becomes the module that it was started for. Nothing of a stranger's has been read before.
 *
 * Arguments: `network` or `no-network`, the module's path.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { confiningProgram } from './permitted-calls.ts';
import { filterArchitecture, setFilter } from './seccomp.ts';

function seal(network: boolean): void {
  const architecture = filterArchitecture();
  if (architecture === undefined) throw new Error(`none is known for ${process.arch}`);
  setFilter(confiningProgram(architecture, { network }), 'process');
  // What is asked through one, no filter sees. Whoever starts us sees to it that Node opens none.
  if (readdirSync('/proc/self/fd').some(isIoUring)) throw new Error('an io_uring is open already');
}

function isIoUring(descriptor: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`).includes('io_uring');
  } catch (error) {
    // That of the directory itself, which has been read.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

const [network, module = ''] = process.argv.slice(2);
try {
  seal(network === 'network');
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  process.stderr.write(
    `its system calls could not be filtered (${reason}): that takes a kernel with CONFIG_SECCOMP_FILTER on x86-64 or ` +
      'arm64; an agent does without with --unpack=in-process and --fetch=in-process\n',
  );
  process.exit(1);
}
await import(pathToFileURL(module).href);
