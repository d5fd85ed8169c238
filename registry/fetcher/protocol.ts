/** What is sent as JSON between the two. The fetcher believes what it is asked; what it answers is checked. */
import type { HttpAnswer, HttpRequest, PoolSettings } from '../http-pool.ts';
import { fetcherFailed } from './frame.ts';

export interface FetchConnect {
  readonly pool: PoolSettings;
}

export interface FetchRequest {
  /** Number of the pool. */
  readonly pool: number;
  readonly method: HttpRequest['method'];
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly headersTimeout: number;
  readonly bodyTimeout: number;
}

export type FetchHead = Pick<HttpAnswer, 'statusCode' | 'headers'>;

const MAX_HEADERS = 200;
const MAX_CODE_CHARACTERS = 100;
const MAX_MESSAGE_CHARACTERS = 1000;

/** Status and headers. @throws RegistryError `FetcherFailed` */
export function parseHead(payload: Buffer): FetchHead {
  const { statusCode, headers } = parseObject(payload);
  const isStatus = Number.isInteger(statusCode) && Number(statusCode) >= 100 && Number(statusCode) <= 599;
  if (!isStatus || !isObject(headers)) throw noAnswer();
  const entries = Object.entries(headers);
  if (entries.length > MAX_HEADERS || !entries.every(([, value]) => isHeaderValue(value))) throw noAnswer();
  // Without a prototype, so that no name of a header means anything else.
  const named: Record<string, string | string[]> = Object.assign(Object.create(null), headers);
  return { statusCode: Number(statusCode), headers: named };
}

/** Why there is no answer, as an error with the code that it had. @throws RegistryError `FetcherFailed` */
export function parseFailure(payload: Buffer): Error {
  const { code, message } = parseObject(payload);
  if (typeof code !== 'string' || typeof message !== 'string') throw noAnswer();
  const text = message.replaceAll(/\p{Cc}+/gu, ' ').slice(0, MAX_MESSAGE_CHARACTERS);
  return Object.assign(new Error(text), { code: code.slice(0, MAX_CODE_CHARACTERS) });
}

function isHeaderValue(value: unknown): boolean {
  return typeof value === 'string' || (Array.isArray(value) && value.every((one) => typeof one === 'string'));
}

function parseObject(payload: Buffer): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString());
  } catch (error) {
    throw noAnswer(error);
  }
  if (!isObject(value)) throw noAnswer();
  return value;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function noAnswer(cause?: unknown): Error {
  return fetcherFailed('answered what is no answer', cause);
}
