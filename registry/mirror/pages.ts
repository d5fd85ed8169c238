/** Listings of a registry (OCI distribution spec, "Listing Tags"): what a page says, and where the next one is. */
import * as z from 'zod';
import { type Answer, header, resolveLocation } from '../connection.ts';
import { RegistryError } from '../errors.ts';

const TAGS = z.object({ tags: z.array(z.string().regex(/^\w[\w.-]{0,127}$/)).nullish() });

/** @throws RegistryError `UnexpectedResponse` */
export function tagsOf(page: unknown, label: string): readonly string[] {
  const parsed = TAGS.safeParse(page);
  if (parsed.success) return parsed.data.tags ?? [];
  throw new RegistryError(
    'UnexpectedResponse',
    `The list of tags of ${label} is malformed: report it to whoever runs the registry.`,
  );
}

/**
 * The URL of the next page by the `Link` header (RFC 8288); undefined at the end.
 * @throws RegistryError `UnsafeRedirect` when it leads to another server, which would get what is meant for this one.
 */
export function nextPage(answer: Answer): URL | undefined {
  const links = header(answer, 'link') ?? '';
  const target = /<([^<>]*)>\s*;[^<]*\brel="?next\b/i.exec(links)?.[1];
  if (target === undefined) return undefined;
  const url = resolveLocation(target, answer.url);
  if (url.origin === answer.url.origin) return url;
  throw new RegistryError(
    'UnsafeRedirect',
    `${answer.url.host} has the next page of a listing at ${url.origin}: report it to whoever runs it.`,
  );
}
