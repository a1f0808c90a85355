// Drives Baidu's own Node client. Reads {options, calls: [{body, model}]}, prints one result for each call.
import {readFileSync} from 'node:fs';
import {Text2Image} from '@baiducloud/qianfan';

const {options, calls} = JSON.parse(readFileSync(0, 'utf8'));
const results = [];
// Its own remarks go to console.log, which is where our results go.
const print = console.log;
console.log = console.error;
const client = new Text2Image(options);
for (const {body, model} of calls) {
    try {
        results.push({body: await client.text2Image(body, model)});
    }
    catch (error) {
        results.push({error: String(error.message)});
    }
}
print(JSON.stringify(results));
