/** `file_contexts.subs` and `file_contexts.subs_dist`: directories that are labelled as if they were others. */

interface Substitution {
  readonly from: string;
  readonly to: string;
}

/** One file of substitutions. At most one of them applies to a path: the last whose directory holds it. */
export class PathSubstitutions {
  readonly #latestFirst: readonly Substitution[];

  private constructor(latestFirst: readonly Substitution[]) {
    this.#latestFirst = latestFirst;
  }

  /** Each line has two paths; what is more, less or a comment is ignored, as libselinux does. */
  static parse(text: string): PathSubstitutions {
    const list: Substitution[] = [];
    for (const line of text.split('\n')) {
      const [from, to] = line.trim().split(/\s+/, 2);
      if (from === undefined || from === '' || from.startsWith('#') || to === undefined) continue;
      list.unshift({ from, to });
    }
    return new PathSubstitutions(list);
  }

  apply(path: string): string {
    for (const { from, to } of this.#latestFirst) {
      if (!path.startsWith(from)) continue;
      const rest = path.slice(from.length);
      if (rest === '') return to;
      if (rest.startsWith('/')) return to === '/' ? rest : to + rest;
    }
    return path;
  }
}
