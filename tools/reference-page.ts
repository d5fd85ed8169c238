/** Turns a CustomResourceDefinition into a page of `docs/reference/`, so that the page cannot say what the API does not do. */

interface Schema {
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly pattern?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message?: string }[];
}

/** The parts of a CustomResourceDefinition that a page shows. */
export interface Definition {
  readonly spec: {
    readonly group: string;
    readonly scope: string;
    readonly names: { readonly kind: string; readonly plural: string; readonly shortNames: readonly string[] };
    readonly versions: readonly {
      readonly name: string;
      readonly additionalPrinterColumns: readonly {
        readonly name: string;
        readonly description: string;
        readonly priority?: number;
      }[];
      readonly schema: { readonly openAPIV3Schema: Schema };
    }[];
  };
}

interface Field {
  readonly path: string;
  readonly schema: Schema;
  readonly required: boolean;
}

/** Returns the page as Markdown. `example` is YAML that the API server accepts as it stands. */
export function referencePage(definition: Definition, example: string): string {
  const { group, scope, names, versions } = definition.spec;
  const [version] = versions;
  if (version === undefined) throw new Error(`${names.kind} has no version`);
  const root = version.schema.openAPIV3Schema;
  const rules = rulesOf(root, '');
  return [
    '<!-- Generated from api/ by `npm run generate`. Do not edit. -->',
    '',
    `# ${names.kind}`,
    '',
    root.description ?? '',
    '',
    `\`apiVersion: ${group}/${version.name}\`, plural \`${names.plural}\`, short name ${names.shortNames.map(code).join(', ')}, scope: ${scope}.`,
    '',
    '```yaml',
    example.trimEnd(),
    '```',
    '',
    ...section('spec', root),
    ...section('status', root),
    '## Rules',
    '',
    'The API server refuses an object that breaks one of these, with this message:',
    '',
    ...rules.map(({ path, message }) => `- ${code(path)}: ${message}`),
    '',
    '## Columns',
    '',
    `What \`kubectl get ${names.plural}\` shows; those in italics only with \`-o wide\`.`,
    '',
    '| Column | Meaning |',
    '| --- | --- |',
    ...version.additionalPrinterColumns.map(
      ({ name, description, priority = 0 }) => `| ${priority > 0 ? `*${name}*` : name} | ${cell(description)} |`,
    ),
    '',
  ].join('\n');
}

function section(name: string, root: Schema): string[] {
  const schema = root.properties?.[name];
  if (schema === undefined) return [];
  return [
    `## ${name}`,
    '',
    schema.description ?? '',
    '',
    '| Field | Type | Default | Meaning |',
    '| --- | --- | --- | --- |',
    ...fieldsOf(schema, name).map(
      ({ path, schema: field, required }) =>
        `| ${code(path)} | ${typeOf(field)}${required ? ', required' : ''} | ${defaultOf(field)} | ${cell(field.description ?? '')} |`,
    ),
    '',
  ];
}

/** Every field below `schema`, in the order of the schema, parents first. */
function fieldsOf(schema: Schema, path: string): Field[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const field: Field = {
      path: `${path}.${name}`,
      schema: property,
      required: schema.required?.includes(name) === true,
    };
    const inner = property.items ?? property;
    return [field, ...fieldsOf(inner, property.items === undefined ? field.path : `${field.path}[]`)];
  });
}

function rulesOf(schema: Schema, path: string): { path: string; message: string }[] {
  const own = (schema['x-kubernetes-validations'] ?? []).map(({ rule, message }) => ({
    path,
    message: message ?? rule,
  }));
  const below = Object.entries(schema.properties ?? {}).flatMap(([name, property]) =>
    rulesOf(property, path === '' ? name : `${path}.${name}`),
  );
  return [...own, ...below, ...(schema.items === undefined ? [] : rulesOf(schema.items, `${path}[]`))];
}

function typeOf(schema: Schema): string {
  if (schema['x-kubernetes-int-or-string'] === true) return 'integer or string';
  if (schema.items !== undefined) return `list of ${typeOf(schema.items)}${bound('at most', schema.maxItems)}`;
  if (schema.additionalProperties !== undefined) return `map of ${typeOf(schema.additionalProperties)}`;
  if (schema.enum !== undefined) return schema.enum.map(code).join(', ');
  if (schema.format === 'date-time') return 'time (RFC 3339)';
  const range = [
    schema.minimum === undefined ? '' : `from ${schema.minimum}`,
    schema.maximum === undefined ? '' : `to ${schema.maximum}`,
    schema.maxLength === undefined ? '' : `up to ${schema.maxLength} characters`,
  ].filter((part) => part !== '');
  return [schema.type ?? 'any', range.join(' ')].filter((part) => part !== '').join(', ');
}

function bound(words: string, value: number | undefined): string {
  return value === undefined ? '' : `, ${words} ${value}`;
}

/** A default of `{}` only makes the defaults below it take effect, which says nothing to a reader. */
function defaultOf({ default: value }: Schema): string {
  return value === undefined || typeof value === 'object' ? '' : code(JSON.stringify(value));
}

function code(text: string): string {
  return `\`${text}\``;
}

function cell(text: string): string {
  return text.replaceAll('|', String.raw`\|`);
}
