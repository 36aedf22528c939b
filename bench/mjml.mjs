// MJML on standard input becomes HTML on standard output.
import { readFileSync } from "node:fs";
import mjml2html from "mjml";

const { html, errors } = await mjml2html(readFileSync(0, "utf8"), { validationLevel: "strict" });
if (errors.length) throw new Error(errors.map((error) => error.formattedMessage).join("\n"));
process.stdout.write(html);
