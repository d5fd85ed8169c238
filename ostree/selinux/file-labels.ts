/**
 * The labels that a policy prescribes for the files of a system, by path and type: what libselinux's selabel_lookup(3)
 * says. Pure: the policy's files come in as texts.
 */
import { S_IFDIR, S_IFMT } from '../objects/file-header.ts';
import { PolicyError } from './errors.ts';
import { parseFileContexts } from './file-contexts.ts';
import { hasMetaCharacters, LabellingRule } from './labelling-rule.ts';
import { MatchBudget } from './match-budget.ts';
import { PathSubstitutions } from './path-substitutions.ts';

/** The texts of `contexts/files/`, one character for each byte; undefined for files that are not there. */
export interface PolicyTexts {
  readonly fileContexts: string;
  readonly homedirs?: string | undefined;
  readonly local?: string | undefined;
  readonly subs?: string | undefined;
  readonly subsDist?: string | undefined;
}

/** Directories whose rules are remembered. */
const MAX_REMEMBERED = 20_000;

export class FileLabels {
  readonly #subs: PathSubstitutions;
  readonly #subsDist: PathSubstitutions;
  /** Rules for one path, by that path. */
  readonly #literals = new Map<string, LabellingRule[]>();
  /** The other rules, by the directory that their prefix ends in: `/usr/lib/` for `/usr/lib/foo.*`. */
  readonly #byDirectory = new Map<string, LabellingRule[]>();
  /** Rules that may match entries of a directory, best first. */
  readonly #candidates = new Map<string, readonly LabellingRule[]>();
  readonly #budget = new MatchBudget();

  /** @throws {PolicyError} `InvalidPolicy`, or `UnsupportedPattern` for the root directory's label */
  constructor(texts: PolicyTexts) {
    this.#subs = PathSubstitutions.parse(texts.subs ?? '');
    this.#subsDist = PathSubstitutions.parse(texts.subsDist ?? '');
    const specs = [
      ...parseFileContexts(texts.fileContexts, 'file_contexts'),
      ...parseFileContexts(texts.homedirs ?? '', 'file_contexts.homedirs'),
      ...parseFileContexts(texts.local ?? '', 'file_contexts.local'),
    ];
    const expressions = specs.filter(({ pattern }) => hasMetaCharacters(pattern));
    const paths = specs.filter(({ pattern }) => !hasMetaCharacters(pattern));
    for (const [rank, spec] of [...expressions, ...paths].entries()) this.#add(new LabellingRule(spec, rank));
    // libostree refuses such a policy, too: nothing that it is asked about would have a label.
    if (this.lookup('/', S_IFDIR | 0o755) === undefined) {
      throw new PolicyError('InvalidPolicy', 'file_contexts has no label for the root directory');
    }
  }

  /**
   * The label for a file, or undefined if it is to have none.
   *
   * @param path absolute
   * @param mode with the file type
   * @throws {PolicyError} `UnsupportedPattern`, `TooExpensive`
   */
  lookup(path: string, mode: number): string | undefined {
    const key = this.#key(path);
    const fileType = mode & S_IFMT;
    this.#budget.beginLookup();
    let best = this.#findLiteral(key, fileType);
    for (const rule of this.#candidatesIn(key.slice(0, key.lastIndexOf('/') + 1))) {
      if (best !== undefined && best.rank > rule.rank) break;
      if (appliesTo(rule, fileType) && rule.matches(key, this.#budget)) {
        best = rule;
        break;
      }
    }
    return best?.spec.context;
  }

  /** What is looked up for a path: its bytes, with substitutions. */
  #key(path: string): string {
    // eslint-disable-next-line no-control-regex
    let key = /^[\0-\x7f]*$/.test(path) ? path : Buffer.from(path).toString('latin1');
    if (key.includes('//')) key = key.replace(/\/{2,}/g, '/');
    if (key.length > 1 && key.endsWith('/')) key = key.slice(0, -1);
    return this.#subsDist.apply(this.#subs.apply(key));
  }

  #findLiteral(key: string, fileType: number): LabellingRule | undefined {
    // PCRE's $ matches before a newline that ends the text.
    const keys = key.endsWith('\n') ? [key, key.slice(0, -1)] : [key];
    const rules = keys.flatMap((one) => this.#literals.get(one) ?? []).filter((rule) => appliesTo(rule, fileType));
    return rules.sort(bestFirst)[0];
  }

  #candidatesIn(directory: string): readonly LabellingRule[] {
    const known = this.#candidates.get(directory);
    if (known !== undefined) return known;
    let candidates: readonly LabellingRule[] = this.#byDirectory.get('')?.toSorted(bestFirst) ?? [];
    for (let end = directory.indexOf('/'); end >= 0; end = directory.indexOf('/', end + 1)) {
      candidates = this.#narrow(candidates, directory.slice(0, end + 1));
    }
    if (this.#candidates.size >= MAX_REMEMBERED) this.#candidates.clear();
    this.#candidates.set(directory, candidates);
    return candidates;
  }

  /** Those of the parent's rules that may match in this directory, and those that begin to match here. */
  #narrow(parent: readonly LabellingRule[], directory: string): readonly LabellingRule[] {
    const known = this.#candidates.get(directory);
    if (known !== undefined) return known;
    const inherited = parent.filter((rule) => directory.startsWith(rule.prefix));
    const own = this.#byDirectory.get(directory) ?? [];
    if (own.length > 0) return [...own, ...inherited].sort(bestFirst);
    // Most directories differ from their parent in nothing: they share its list.
    return inherited.length === parent.length ? parent : inherited;
  }

  #add(rule: LabellingRule): void {
    if (rule.isLiteral) append(this.#literals, rule.prefix, rule);
    else append(this.#byDirectory, rule.prefix.slice(0, rule.prefix.lastIndexOf('/') + 1), rule);
  }
}

function bestFirst(a: LabellingRule, b: LabellingRule): number {
  return b.rank - a.rank;
}

function appliesTo({ spec }: LabellingRule, fileType: number): boolean {
  return spec.fileType === 0 || spec.fileType === fileType;
}

function append(map: Map<string, LabellingRule[]>, key: string, rule: LabellingRule): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [rule]);
  else list.push(rule);
}
