/** A copy of the planner and its tests, for a tool that changes what it tests. */
import { cp, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** What the tests of the planner load. */
const PARTS = [
  'api',
  'operator',
  'node-agent',
  'registry',
  'test/unit/rollout',
  'package.json',
  'tsconfig.json',
  '.mocharc.json',
];

export class PlannerCopy implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes the copy; of our own packages and those in `packages`, the latter win. */
  static async make(packages: string): Promise<PlannerCopy> {
    const path = await mkdtemp(join(tmpdir(), 'treeline-mutation-'));
    for (const part of PARTS) await cp(join(ROOT, part), join(path, part), { recursive: true });
    const taken = new Map<string, string>();
    for (const folder of [join(ROOT, 'node_modules'), packages]) {
      for (const name of await packageNames(folder)) taken.set(name, join(folder, name));
    }
    for (const [name, target] of taken) {
      const link = join(path, 'node_modules', name);
      await mkdir(dirname(link), { recursive: true });
      await symlink(target, link);
    }
    return new PlannerCopy(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

async function packageNames(folder: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const name of await readdir(folder)) {
    if (name.startsWith('.')) continue;
    if (!name.startsWith('@')) names.push(name);
    else for (const scoped of await readdir(join(folder, name))) names.push(`${name}/${scoped}`);
  }
  return names;
}
