/** Follows a collection of the API as an onlooker: no version of an object that a watch delivers is passed over. */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import type { ControlPlane } from './control-plane.ts';

const RETRY_MS = 300;

export interface WatchedObject {
  readonly metadata: { readonly name: string; readonly uid?: string; readonly resourceVersion?: string };
}

interface WatchEvent<Item> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: Item;
}

export class ObjectWatch<Item extends WatchedObject> implements AsyncDisposable {
  readonly #controlPlane: ControlPlane;
  readonly #path: string;
  readonly #onChange: (changed?: Item) => void;
  readonly #items = new Map<string, Item>();
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;

  /**
   * Starts at once. `path` is a collection, for example `/api/v1/nodes`. `onChange` is called after every change: with
   * the object that was made or changed; without one after a list or a deletion.
   */
  constructor(controlPlane: ControlPlane, path: string, onChange: (changed?: Item) => void) {
    this.#controlPlane = controlPlane;
    this.#path = path;
    this.#onChange = onChange;
    this.#following = this.#follow();
  }

  /** The objects as they are, by name. */
  get items(): ReadonlyMap<string, Item> {
    return this.#items;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }

  async #follow(): Promise<void> {
    const { certificateAuthority } = this.#controlPlane;
    const agent = new Agent({ connect: { ca: certificateAuthority }, bodyTimeout: 0 });
    while (!this.#stop.signal.aborted) {
      try {
        await this.#listAndWatch(agent);
      } catch {
        // An onlooker: whatever cut the watch (a restarted API server, a 410), the next list is the truth again.
        await sleep(RETRY_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      }
    }
    await agent.destroy();
  }

  async #listAndWatch(agent: Agent): Promise<void> {
    const list = await this.#controlPlane.call({ path: this.#path });
    if (list.code !== 200) throw new Error(list.message);
    this.#items.clear();
    for (const item of list.body['items'] as readonly Item[]) this.#items.set(item.metadata.name, item);
    this.#onChange();

    const { resourceVersion } = list.body['metadata'] as { readonly resourceVersion: string };
    const url = new URL(this.#path, this.#controlPlane.url);
    url.search = new URLSearchParams({ watch: '1', resourceVersion }).toString();
    const response = await request(url, {
      dispatcher: agent,
      headers: { authorization: `Bearer ${this.#controlPlane.adminToken}`, accept: 'application/json' },
      signal: this.#stop.signal,
    });
    for await (const line of createInterface({ input: response.body })) {
      const { type, object } = JSON.parse(line) as WatchEvent<Item>;
      if (type === 'ERROR') return;
      if (type === 'BOOKMARK') continue;
      if (type === 'DELETED') this.#items.delete(object.metadata.name);
      else this.#items.set(object.metadata.name, object);
      this.#onChange(type === 'DELETED' ? undefined : object);
    }
  }
}
