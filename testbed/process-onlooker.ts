/** What anybody on a machine can see of processes: looks at them over and over, until it is told to stop. */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const PERIOD_MS = 20;

export class ProcessOnlooker implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #seen = new Set<string>();
  readonly #looking: Promise<void>;

  /** @param roots process ids to look at when their time comes, with all that they start */
  constructor(roots: () => readonly number[]) {
    this.#looking = this.#look(roots);
  }

  /** Command lines and environments, each once. */
  get seen(): readonly string[] {
    return [...this.#seen];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#looking;
  }

  async #look(roots: () => readonly number[]): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const pending = [...roots()];
      for (let pid = pending.pop(); pid !== undefined; pid = pending.pop()) {
        for (const file of ['cmdline', 'environ']) {
          const text = await readOrNothing(`/proc/${pid}/${file}`);
          if (text !== '') this.#seen.add(text);
        }
        for (const task of await tasksOf(pid)) {
          const children = await readOrNothing(`/proc/${pid}/task/${task}/children`);
          pending.push(...children.split(' ').filter(Boolean).map(Number));
        }
      }
      await sleep(PERIOD_MS);
    }
  }
}

/** A process may be gone by the time that it is looked at. */
async function readOrNothing(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

async function tasksOf(pid: number): Promise<readonly string[]> {
  return readdir(`/proc/${pid}/task`).catch(() => []);
}
