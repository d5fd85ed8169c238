/** Which tags of a repository are meant. */
import { isAttachmentTag } from './attachment-tags.ts';

/**
 * The tags that one of the patterns fits, sorted, without those that belong to other images. `*` stands for any characters,
 * `?` for one.
 */
export function selectTags(tags: readonly string[], patterns: readonly string[]): readonly string[] {
  const expressions = patterns.map(expressionOf);
  return [...new Set(tags)]
    .filter((tag) => !isAttachmentTag(tag) && expressions.some((expression) => expression.test(tag)))
    .sort();
}

function expressionOf(pattern: string): RegExp {
  const parts = pattern.split(/(\*+|\?)/).map((part) => {
    if (part === '?') return '.';
    return /^\*+$/.test(part) ? '.*' : RegExp.escape(part);
  });
  return new RegExp(`^${parts.join('')}$`);
}
