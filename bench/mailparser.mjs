// Reads messages (files named on the command line) with mailparser; one line of JSON for each.
import { readFileSync } from "node:fs";
import { simpleParser } from "mailparser";

for (const file of process.argv.slice(2)) {
  const mail = await simpleParser(readFileSync(file), { skipTextToHtml: true, skipHtmlToText: true, skipTextLinks: true });
  const { subject, text, html, attachments } = mail;
  const defects = attachments.map((one) => `a part is taken for an attachment: ${one.contentType}`);
  console.log(JSON.stringify({ subject, from: mail.from.text, to: mail.to.text, text, html, defects }));
}
