import { lex, type Token } from "./lua-lexer.ts";

const BINARY: Readonly<Record<string, readonly [left: number, right: number]>> = {
  or: [1, 1],
  and: [2, 2],
  "<": [3, 3],
  ">": [3, 3],
  "<=": [3, 3],
  ">=": [3, 3],
  "~=": [3, 3],
  "==": [3, 3],
  "..": [5, 4],
  "+": [6, 6],
  "-": [6, 6],
  "*": [7, 7],
  "/": [7, 7],
  "%": [7, 7],
  "^": [10, 9],
};
const UNARY_POWER = 8;

/** An expression in JavaScript. `isMany`: a call or `...`, which may give any number of values. */
interface Code {
  readonly js: string;
  readonly isMany?: boolean;
  /** Can be assigned to: JavaScript that does so with the value in place of `@`. */
  readonly assign?: string;
}

/**
 * Translates a Lua script into the body of a JavaScript function of `$` (see `lua-runtime.ts`), so that the model test
 * runs the very text that Redis runs.
 */
export function compileLua(source: string): string {
  return new Compiler(lex(source)).script();
}

class Compiler {
  readonly #tokens: readonly Token[];
  #at = 0;
  #names = 0;
  #scopes: Map<string, string>[] = [new Map()];
  /** Temporaries of the function that is being compiled. */
  #temporaries: string[] = [];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  script(): string {
    const body = this.#block();
    if (this.#peek.kind !== "end") throw this.#unexpected();
    return `${this.#declared()}${body}`;
  }

  #block(): string {
    this.#scopes.push(new Map());
    let js = "";
    while (!this.#isBlockEnd()) {
      if (this.#accept("return")) {
        const values = this.#isBlockEnd() || this.#is(";") ? [] : this.#expressions();
        this.#accept(";");
        js += `return ${this.#returned(values)};\n`;
        break;
      }
      js += this.#statement();
      this.#accept(";");
    }
    this.#scopes.pop();
    return js;
  }

  #returned(values: readonly Code[]): string {
    const [first] = values;
    if (first === undefined) return "undefined";
    return values.length === 1 ? first.js : `new $.Many([${this.#list(values)}])`;
  }

  #statement(): string {
    const { text } = this.#peek;
    if (this.#peek.kind !== "keyword") return this.#assignmentOrCall();
    this.#at += 1;
    switch (text) {
      case "local":
        return this.#accept("function") ? this.#localFunction() : this.#local();
      case "if":
        return this.#if();
      case "while": {
        const condition = this.#condition();
        this.#expect("do");
        return `while (${condition}) {\n${this.#blockToEnd()}}\n`;
      }
      case "for":
        return this.#for();
      case "repeat":
        return this.#repeat();
      case "do":
        return `{\n${this.#blockToEnd()}}\n`;
      case "break":
        return "break;\n";
      case "function": {
        const name = this.#name();
        return `$.globals.${name} = ${this.#function()};\n`;
      }
      default:
        this.#at -= 1;
        throw this.#unexpected();
    }
  }

  #local(): string {
    const names = [this.#name()];
    while (this.#accept(",")) names.push(this.#name());
    const values = this.#accept("=") ? this.#expressions() : [];
    // The values cannot see the new names.
    const declared = names.map((name) => this.#declare(name));
    if (values.length <= 1 && names.length === 1) return `let ${declared[0]} = ${this.#one(values[0])};\n`;
    return `let [${declared.join(", ")}] = [${this.#list(values)}];\n`;
  }

  #localFunction(): string {
    const name = this.#declare(this.#name());
    return `let ${name}; ${name} = ${this.#function()};\n`;
  }

  #if(): string {
    let js = `if (${this.#condition()}) {\n`;
    this.#expect("then");
    js += this.#block();
    while (this.#accept("elseif")) {
      js += `} else if (${this.#condition()}) {\n`;
      this.#expect("then");
      js += this.#block();
    }
    if (this.#accept("else")) js += `} else {\n${this.#block()}`;
    this.#expect("end");
    return `${js}}\n`;
  }

  #for(): string {
    const names = [this.#name()];
    if (this.#accept("=")) return this.#countingFor(names[0] ?? "");
    while (this.#accept(",")) names.push(this.#name());
    this.#expect("in");
    const iterated = this.#expressions();
    this.#expect("do");
    this.#scopes.push(new Map());
    const declared = names.map((name) => this.#declare(name));
    const body = this.#blockToEnd();
    this.#scopes.pop();
    return `for (let [${declared.join(", ")}] of $.iterate(${this.#list(iterated)})) {\n${body}}\n`;
  }

  #countingFor(name: string): string {
    const [from, to, step] = this.#expressions();
    this.#expect("do");
    this.#scopes.push(new Map());
    const own = this.#declare(name);
    const body = this.#blockToEnd();
    this.#scopes.pop();
    const by = step === undefined ? "1" : `$.number(${this.#one(step)})`;
    const [start, last] = [`$.number(${this.#one(from)})`, `$.number(${this.#one(to)})`];
    return `for (let ${own} of $.count(${start}, ${last}, ${by})) {\n${body}}\n`;
  }

  #repeat(): string {
    const body = this.#block();
    this.#expect("until");
    return `do {\n${body}} while (!(${this.#condition()}));\n`; // the condition sees no local of the body; none does
  }

  #assignmentOrCall(): string {
    const first = this.#suffixed();
    if (this.#is("=") || this.#is(",")) {
      const targets = [first];
      while (this.#accept(",")) targets.push(this.#suffixed());
      this.#expect("=");
      const values = this.#expressions();
      const assign = ({ assign }: Code, js: string) => {
        if (assign === undefined) throw this.#unexpected();
        return assign.replace("@", () => js);
      };
      if (targets.length === 1 && values.length === 1) return `${assign(first, this.#one(values[0]))};\n`;
      const given = this.#temporary();
      return `${given} = [${this.#list(values)}];\n${targets.map((target, i) => `${assign(target, `${given}[${i}]`)};`).join(" ")}\n`;
    }
    if (first.isMany !== true) throw this.#unexpected();
    return `${first.js};\n`;
  }

  #expressions(): Code[] {
    const list = [this.#expression()];
    while (this.#accept(",")) list.push(this.#expression());
    return list;
  }

  #expression(power = 0): Code {
    let left = this.#unary();
    for (;;) {
      const { text, kind } = this.#peek;
      const binding = kind === "string" ? undefined : BINARY[text];
      if (binding === undefined || binding[0] <= power) return left;
      this.#at += 1;
      left = { js: this.#binary(text, this.#one(left), this.#one(this.#expression(binding[1]))) };
    }
  }

  #binary(operator: string, left: string, right: string): string {
    switch (operator) {
      case "and": {
        const kept = this.#temporary();
        return `($.truth(${kept} = ${left}) ? ${right} : ${kept})`;
      }
      case "or": {
        const kept = this.#temporary();
        return `($.truth(${kept} = ${left}) ? ${kept} : ${right})`;
      }
      case "==":
        return `(${left} === ${right})`;
      case "~=":
        return `(${left} !== ${right})`;
      case "<":
        return `$.less(${left}, ${right})`;
      case ">":
        return `$.less(${right}, ${left})`;
      case "<=":
        return `!$.less(${right}, ${left})`;
      case ">=":
        return `!$.less(${left}, ${right})`;
      case "..":
        return `($.text(${left}) + $.text(${right}))`;
      case "%":
        return `$.modulo($.number(${left}), $.number(${right}))`;
      case "^":
        return `($.number(${left}) ** $.number(${right}))`;
      default:
        return `($.number(${left}) ${operator} $.number(${right}))`;
    }
  }

  #unary(): Code {
    if (this.#accept("not")) return { js: `!$.truth(${this.#one(this.#expression(UNARY_POWER))})` };
    if (this.#accept("#")) return { js: `$.length(${this.#one(this.#expression(UNARY_POWER))})` };
    if (this.#accept("-")) return { js: `(-$.number(${this.#one(this.#expression(UNARY_POWER))}))` };
    return this.#simple();
  }

  #simple(): Code {
    const { kind, text } = this.#peek;
    if (kind === "number" || kind === "string") {
      this.#at += 1;
      return { js: kind === "number" ? String(Number(text)) : JSON.stringify(text) };
    }
    if (this.#accept("nil")) return { js: "undefined" };
    if (this.#accept("true")) return { js: "true" };
    if (this.#accept("false")) return { js: "false" };
    if (this.#accept("...")) return { js: "new $.Many(rest)", isMany: true };
    if (this.#accept("function")) return { js: this.#function() };
    if (this.#is("{")) return { js: this.#table() };
    return this.#suffixed();
  }

  #suffixed(): Code {
    let code = this.#primary();
    for (;;) {
      if (this.#accept(".")) code = this.#indexed(code, JSON.stringify(this.#name()));
      else if (this.#accept("[")) {
        code = this.#indexed(code, this.#one(this.#expression()));
        this.#expect("]");
      } else if (this.#is("(") || this.#is("{") || this.#peek.kind === "string") {
        code = { js: `$.call(${this.#one(code)}${this.#arguments()})`, isMany: true };
      } else if (this.#accept(":")) {
        const name = JSON.stringify(this.#name());
        code = { js: `$.method(${this.#one(code)}, ${name}${this.#arguments()})`, isMany: true };
      } else return code;
    }
  }

  #primary(): Code {
    if (this.#accept("(")) {
      const inner = this.#one(this.#expression());
      this.#expect(")");
      return { js: inner };
    }
    const name = this.#name();
    const own = this.#scopes.map((scope) => scope.get(name)).findLast((known) => known !== undefined);
    const js = own ?? `$.globals.${name}`;
    return { js, assign: `${js} = @` };
  }

  #indexed(of: Code, key: string): Code {
    const table = this.#one(of);
    return { js: `$.get(${table}, ${key})`, assign: `$.set(${table}, ${key}, @)` };
  }

  /** With a comma before each. */
  #arguments(): string {
    if (this.#is("{")) return `, ${this.#table()}`;
    if (this.#peek.kind === "string") return `, ${this.#simple().js}`;
    this.#expect("(");
    if (this.#accept(")")) return "";
    const values = this.#expressions();
    this.#expect(")");
    return `, ${this.#list(values)}`;
  }

  #table(): string {
    this.#expect("{");
    const items: Code[] = [];
    const fields: string[] = [];
    while (!this.#is("}")) {
      const next = this.#tokens[this.#at + 1];
      if (this.#accept("[")) {
        const key = this.#one(this.#expression());
        this.#expect("]");
        this.#expect("=");
        fields.push(`[${key}, ${this.#one(this.#expression())}]`);
      } else if (this.#peek.kind === "name" && next?.kind === "symbol" && next.text === "=") {
        const key = JSON.stringify(this.#name());
        this.#expect("=");
        fields.push(`[${key}, ${this.#one(this.#expression())}]`);
      } else items.push(this.#expression());
      if (!this.#accept(",") && !this.#accept(";")) break;
    }
    this.#expect("}");
    return `$.table([${this.#list(items)}], [${fields.join(", ")}])`;
  }

  #function(): string {
    this.#expect("(");
    const outer = this.#temporaries;
    this.#temporaries = [];
    this.#scopes.push(new Map());
    const names: string[] = [];
    while (!this.#is(")")) {
      names.push(this.#accept("...") ? "...rest" : this.#declare(this.#name()));
      if (!this.#accept(",")) break;
    }
    this.#expect(")");
    const body = this.#blockToEnd();
    this.#scopes.pop();
    const js = `((${names.join(", ")}) => {\n${this.#declared()}${body}})`;
    this.#temporaries = outer;
    return js;
  }

  #blockToEnd(): string {
    const body = this.#block();
    this.#expect("end");
    return body;
  }

  #condition(): string {
    return `$.truth(${this.#one(this.#expression())})`;
  }

  #one(code: Code | undefined): string {
    if (code === undefined) return "undefined";
    return code.isMany === true ? `$.one(${code.js})` : code.js;
  }

  /** Comma between them; what the last one gives is spread. */
  #list(values: readonly Code[]): string {
    return values
      .map((value, at) =>
        at === values.length - 1 && value.isMany === true ? `...$.all(${value.js})` : this.#one(value),
      )
      .join(", ");
  }

  #declare(name: string): string {
    this.#names += 1;
    const own = `${name}_${this.#names}`;
    this.#scopes.at(-1)?.set(name, own);
    return own;
  }

  #temporary(): string {
    this.#names += 1;
    const own = `t_${this.#names}`;
    this.#temporaries.push(own);
    return own;
  }

  #declared(): string {
    return this.#temporaries.length === 0 ? "" : `let ${this.#temporaries.join(", ")};\n`;
  }

  get #peek(): Token {
    return this.#tokens[this.#at] ?? { kind: "end", text: "", line: 0 };
  }

  #is(text: string): boolean {
    const { kind, text: own } = this.#peek;
    return own === text && (kind === "symbol" || kind === "keyword");
  }

  #accept(text: string): boolean {
    if (!this.#is(text)) return false;
    this.#at += 1;
    return true;
  }

  #expect(text: string): void {
    if (!this.#accept(text)) throw this.#unexpected();
  }

  #name(): string {
    if (this.#peek.kind !== "name") throw this.#unexpected();
    this.#at += 1;
    return this.#tokens[this.#at - 1]?.text ?? "";
  }

  #isBlockEnd(): boolean {
    return this.#peek.kind === "end" || ["end", "else", "elseif", "until"].some((word) => this.#is(word));
  }

  #unexpected(): Error {
    return new Error(`Lua, line ${this.#peek.line}: unexpected '${this.#peek.text}'`);
  }
}
