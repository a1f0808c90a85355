// Drives Volcengine's own Node client. Reads {options, calls: [{action, version, body, presigned}]}, prints one answer for
// each call. A presigned call is one whose address the client signs, and which is sent without a header of its own.
import {readFileSync} from 'node:fs';
import openapi from '@volcengine/openapi';

const {options, calls} = JSON.parse(readFileSync(0, 'utf8'));
const service = new openapi.Service({serviceName: 'cv', region: 'cn-north-1', protocol: 'http:', ...options});
const answers = [];
for (const {action, version, body, presigned} of calls) {
    if (presigned) {
        const params = {Action: action, Version: version};
        const signer = new openapi.Signer({region: 'cn-north-1', method: 'POST', pathname: '/', params}, 'cv');
        const query = signer.getSignUrl({accessKeyId: options.accessKeyId, secretKey: options.secretKey});
        const headers = {'content-type': 'application/json'};
        const answer = await fetch(`http://${options.host}/?${query}`, {method: 'POST', body: JSON.stringify(body), headers});
        answers.push(await answer.json());
    }
    else {
        answers.push(await service.createJSONAPI(action, {Version: version})(body));
    }
}
console.log(JSON.stringify(answers));
