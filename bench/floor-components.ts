/**
 * The work that no importer of an image can leave out, each kind by itself on all cores, with nothing else: inflating the
 * layers, the digests of layers and objects, and files written and made durable. And what others do meanwhile, who in the
 * benchmarks have no other CPUs: the registry that sends the blobs, and the kernel that writes the files to the disk.
 */
import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { createIsalInflater } from '../ostree/import/isal.ts';
import { openLayerTar } from '../ostree/import/layer-tar.ts';
import { runCommand } from '../tools/setup/command.ts';
import { kernelThreadSeconds, processSeconds, secondsBetween } from './cpu-time.ts';
import type { FloorTask } from './floor-worker.ts';
import type { LayerContent } from './image-content.ts';

export interface Component {
  readonly name: string;
  readonly bytes: number;
  /** User and system time of all threads. */
  readonly cpuSeconds: number;
  /** On all cores. */
  readonly wallSeconds: number;
  /** Of the longest part that one core has to do in one go, where there is such a thing. */
  readonly longestSeconds?: number;
  /** Set for what is not in the floor of the import alone: the way of the blobs, and the kernel's own threads. */
  readonly isBeside?: true;
}

const READ_BYTES = 1 << 18;

/** Gunzips every layer by what the importer does it with, as many at a time as there are cores; the result is dropped. */
export async function inflate(layers: readonly LayerContent[], cores: number): Promise<Component> {
  let bytes = 0;
  let longestSeconds = 0;
  const inflateOne = async ({ path }: LayerContent): Promise<void> => {
    const started = performance.now();
    const source = createReadStream(path, { highWaterMark: READ_BYTES });
    const read = openLayerTar({ digest: path, compression: 'gzip', bytes: source }, () => false);
    const target = Buffer.allocUnsafeSlow(READ_BYTES);
    for (let count = await read(target); count > 0; count = await read(target)) bytes += count;
    longestSeconds = Math.max(longestSeconds, (performance.now() - started) / 1000);
  };
  // Largest first: the last one then ends soon after the others.
  const waiting = layers.toSorted((a, b) => a.compressed - b.compressed);
  const cost = await timed(async () => {
    await Promise.all(
      Array.from({ length: cores }, async () => {
        for (let layer = waiting.pop(); layer !== undefined; layer = waiting.pop()) await inflateOne(layer);
      }),
    );
  });
  const library = createIsalInflater() === undefined ? 'zlib' : 'ISA-L';
  return { name: `inflate by ${library}`, bytes, ...cost, longestSeconds };
}

/** SHA-256 of parts of the given sizes. */
export async function digest(name: string, sizes: readonly number[], cores: number): Promise<Component> {
  const cost = await onAllCores(deal(sizes, cores).map((own) => ({ kind: 'digest', sizes: own })));
  return { name, bytes: sum(sizes), ...cost };
}

/** A registry that serves the image, and the image's repository there. */
export interface BlobServer {
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  readonly repository: string;
}

/**
 * Fetches every blob and drops it, as many at a time as there are cores: what it costs to receive them, and what the
 * registry needs to send them.
 */
export async function fetchBlobs(
  layers: readonly LayerContent[],
  server: BlobServer,
  cores: number,
): Promise<readonly Component[]> {
  let bytes = 0;
  const waiting = layers.toSorted((a, b) => a.compressed - b.compressed);
  const before = processSeconds(server.pid);
  const cost = await timed(async () => {
    await Promise.all(
      Array.from({ length: cores }, async () => {
        for (let layer = waiting.pop(); layer !== undefined; layer = waiting.pop()) {
          const received = await drop(layer, server);
          bytes += received;
        }
      }),
    );
  });
  const sent = { cpuSeconds: processSeconds(server.pid) - before, wallSeconds: cost.wallSeconds };
  return [
    { name: 'receive blobs, drop them', bytes, ...cost, isBeside: true },
    { name: 'the registry sends them', bytes, ...sent, isBeside: true },
  ];
}

/** By a socket that is read into the same memory again and again: whoever does more with the bytes costs more. */
async function drop({ digest, compressed }: LayerContent, server: BlobServer): Promise<number> {
  const { host, port, repository } = server;
  const memory = Buffer.allocUnsafeSlow(READ_BYTES);
  let received = 0;
  let beginning = '';
  await new Promise<void>((resolve, reject) => {
    const socket = connect({
      host: host.slice(0, host.lastIndexOf(':')),
      port,
      onread: {
        buffer: memory,
        callback: (count) => {
          if (received === 0) beginning = memory.toString('latin1', 0, Math.min(count, 100));
          received += count;
          return true;
        },
      },
    });
    socket.once('error', reject).once('close', () => resolve());
    socket.write(`GET /v2/${repository}/blobs/${digest} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  });
  if (received < compressed || !beginning.startsWith('HTTP/1.1 200 '))
    throw new Error(`blob ${digest} came with ${received} bytes: ${JSON.stringify(beginning)}`);
  return received;
}

/**
 * Creates a file for each size under `directory`, in 256 directories, with owner, mode and time; then one syncfs. And what the
 * kernel's own threads did for it, by then: nothing is left to be written afterwards.
 */
export async function writeFiles(
  directory: string,
  sizes: readonly number[],
  cores: number,
): Promise<readonly Component[]> {
  for (let fan = 0; fan < 256; fan++) await mkdir(join(directory, fan.toString(16).padStart(2, '0')));
  const tasks = deal(sizes, cores).map((own, worker) => ({
    kind: 'write' as const,
    sizes: own,
    directory,
    prefix: `${worker}-`,
  }));
  const before = kernelThreadSeconds();
  const written = await onAllCores(tasks);
  const synced = await timed(async () => runCommand('sync', ['--file-system', directory]));
  const kernelSeconds = secondsBetween(before, kernelThreadSeconds());
  const bytes = sum(sizes);
  const wallSeconds = written.wallSeconds + synced.wallSeconds;
  return [
    { name: 'write files, syncfs', bytes, cpuSeconds: written.cpuSeconds + synced.cpuSeconds, wallSeconds },
    { name: "the kernel's threads write them", bytes, cpuSeconds: kernelSeconds, wallSeconds, isBeside: true },
  ];
}

export interface Bound {
  /** All CPU time, spread evenly over the cores. */
  readonly cpuSeconds: number;
  /** The longest thing that one core has to do in one go: the inflating of the largest layer. */
  readonly chainSeconds: number;
  /** Writing alone, with the waiting for the disk. */
  readonly diskSeconds: number;
  /** The largest of them: everything else overlaps with it in the best case. */
  readonly seconds: number;
  /** The same when the CPU time of registry, network and kernel threads is spread over these cores, too. */
  readonly sharedSeconds: number;
}

/** No import can be quicker than this with these programs for the parts. */
export function lowerBound(all: readonly Component[], cores: number): Bound {
  const components = all.filter(({ isBeside }) => isBeside !== true);
  const cpuSeconds = sum(components.map((one) => one.cpuSeconds)) / cores;
  const chainSeconds = Math.max(0, ...components.map(({ longestSeconds }) => longestSeconds ?? 0));
  const diskSeconds = Math.max(
    0,
    ...components.filter(({ name }) => name.startsWith('write')).map(({ wallSeconds }) => wallSeconds),
  );
  const seconds = Math.max(cpuSeconds, chainSeconds, diskSeconds);
  const sharedSeconds = Math.max(seconds, sum(all.map((one) => one.cpuSeconds)) / cores);
  return { cpuSeconds, chainSeconds, diskSeconds, seconds, sharedSeconds };
}

/** Spreads `sizes` so that each of the shares has about the same sum: the largest goes where least is. */
export function deal(sizes: readonly number[], shares: number): readonly (readonly number[])[] {
  const dealt = Array.from({ length: shares }, () => ({ total: 0, own: [] as number[] }));
  for (const size of sizes.toSorted((a, b) => b - a)) {
    const least = dealt.reduce((best, one) => (one.total < best.total ? one : best));
    least.total += size;
    least.own.push(size);
  }
  return dealt.map(({ own }) => own);
}

async function onAllCores(tasks: readonly FloorTask[]): Promise<{ cpuSeconds: number; wallSeconds: number }> {
  const threads = await Promise.all(tasks.map(startThread));
  try {
    return await timed(async () => {
      await Promise.all(threads.map(async (worker, index) => ask(worker, tasks[index])));
    });
  } finally {
    await Promise.all(threads.map(async (worker) => worker.terminate()));
  }
}

/** Started and warm before the clock runs. */
async function startThread(): Promise<Worker> {
  const worker = new Worker(new URL('floor-worker.ts', import.meta.url));
  await ask(worker, { kind: 'digest', sizes: [1] });
  return worker;
}

async function ask(worker: Worker, task: FloorTask | undefined): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    worker.once('error', reject);
    worker.once('message', () => {
      worker.off('error', reject);
      resolve();
    });
    worker.postMessage(task, []);
  });
}

async function timed(work: () => Promise<unknown>): Promise<{ cpuSeconds: number; wallSeconds: number }> {
  const cpu = process.cpuUsage();
  const started = performance.now();
  await work();
  const wallSeconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { cpuSeconds: (user + system) / 1e6, wallSeconds };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
