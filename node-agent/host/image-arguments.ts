/**
 * The kernel arguments that an image asks for: `/usr/lib/bootc/kargs.d/*.toml`, as bootc reads them (bootc documentation,
 * "Kernel arguments"): `kargs`, a list, and `match-architectures`, by which a file may be for some machines only.
 */
import { parse } from 'smol-toml';
import * as z from 'zod';
import type { KernelArguments } from '../../api/index.ts';
import { AgentError, messageOf } from '../errors.ts';
import type { OstreeTool } from './ostree-tool.ts';

const FOLDERS = ['/usr/lib', '/usr/lib/bootc', '/usr/lib/bootc/kargs.d'] as const;
/** bootc names architectures as Rust does, where that is not as Node does. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64', ppc64: 'powerpc64' };

const fileSchema = z.object({
  kargs: z.array(z.string().regex(/^[!-~]+$/, 'an argument is of printable characters, without spaces')).default([]),
  'match-architectures': z.array(z.string()).optional(),
});

/** A file's name and content. */
export type ArgumentsFile = readonly [name: string, text: string];

/** What the files ask for on a machine of that architecture (as in `process.arch`). Throws AgentError `InvalidKernelArguments`. */
export function parseImageArguments(files: readonly ArgumentsFile[], architecture: string): readonly string[] {
  const here = ARCHITECTURES[architecture] ?? architecture;
  const sorted = files.toSorted(([one], [other]) => (one < other ? -1 : 1));
  return sorted.flatMap(([name, text]) => {
    try {
      const { kargs, 'match-architectures': only } = fileSchema.parse(parse(text));
      if (only !== undefined && !only.includes(here)) return [];
      if (kargs.some((one) => one.startsWith('ostree='))) throw new Error('ostree= is set by libostree itself');
      return kargs;
    } catch (cause) {
      const why = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
      throw new AgentError(
        'InvalidKernelArguments',
        `The image's ${FOLDERS[2]}/${name} cannot be used: ${why.trim().replaceAll(/\s+/g, ' ')}. Build the image anew.`,
        { cause },
      );
    }
  });
}

/** What the image of a commit in the repository asks for, here. Throws AgentError `InvalidKernelArguments`, `CommandFailed`. */
export async function imageArguments(
  tool: OstreeTool,
  repository: string,
  checksum: string,
): Promise<readonly string[]> {
  const [usrLib, bootc, folder] = FOLDERS;
  if (!(await tool.listDirectory(repository, checksum, usrLib)).includes(bootc)) return [];
  if (!(await tool.listDirectory(repository, checksum, bootc)).includes(folder)) return [];
  const paths = await tool.listDirectory(repository, checksum, folder);
  const files: ArgumentsFile[] = [];
  for (const path of paths) {
    if (!path.endsWith('.toml')) continue;
    files.push([path.slice(folder.length + 1), await tool.readFile(repository, checksum, path)]);
  }
  return parseImageArguments(files, process.arch);
}

/** How the arguments of a host change from one image to the next: by what only one of both asks for. */
export function changeOfImages(before: readonly string[], after: readonly string[]): KernelArguments {
  return {
    append: after.filter((one) => !before.includes(one)),
    delete: before.filter((one) => !after.includes(one)),
  };
}
