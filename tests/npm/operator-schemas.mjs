// Checks manifests of the Prometheus operator (a JSON array on stdin) against the operator's own schemas.
// Exit status 1 and one line for each that does not fit.
import * as operator from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

let text = "";
for await (const chunk of process.stdin) text += chunk;
for (const manifest of JSON.parse(text)) {
  try {
    new operator[manifest.kind](manifest).validate();
  } catch (error) {
    console.log(`${manifest.kind} ${manifest.metadata.name}: ${error.message}`);
    process.exitCode = 1;
  }
}
