/**
 * What the server sends: the types of `/openapi.json`, as far as the page uses them.
 * @module
 */

/** @typedef {"accepted"|"running"|"successful"|"failed"|"dismissed"} Status */
/** @typedef {{rel: string, href: string, type: string}} Link */

/**
 * @typedef {object} Slide
 * @property {string} id
 * @property {string} name
 * @property {string} root
 * @property {string} folder
 * @property {number|null} width in level-0 pixels
 * @property {number|null} height
 * @property {number|null} mpp µm per level-0 pixel
 * @property {number|null} mpp_x
 * @property {number|null} mpp_y
 * @property {string|null} mpp_source
 * @property {string|null} reader
 * @property {{downsample: number, width: number, height: number}[]} levels
 * @property {string|null} error why it cannot be opened
 */

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {Status} status
 * @property {number} progress percent
 * @property {string} stage
 * @property {number} done windows, rows or blocks of the stage
 * @property {number} total
 * @property {string} slide
 * @property {string|null} slide_name
 * @property {string|null} name
 * @property {string} model
 * @property {string|null} model_version
 * @property {Record<string, any>} parameters
 * @property {[number, number, number, number]|null} region
 * @property {string|null} batch
 * @property {number} priority
 * @property {string} created
 * @property {string|null} started
 * @property {string|null} finished
 * @property {string|null} removed
 * @property {number|null} position
 * @property {number|null} windows
 * @property {string|null} expected_end
 * @property {string} message
 * @property {{code: string, message: string}[]} warnings
 * @property {Link[]} links
 */

/**
 * @typedef {object} Batch
 * @property {string} id
 * @property {string} name
 * @property {Status} status
 * @property {number} progress
 * @property {string} created
 * @property {number} jobs
 * @property {Record<string, number>} counts
 */

/** @typedef {{id: number, name: string, color: number[], pixels: number}} MaskClass */

/**
 * @typedef {object} TileTable
 * @property {number} tile_size
 * @property {{downsample: number, width: number, height: number}[]} levels from the finest on
 * @property {number[]} origin x and y of the mask in level-0 pixels
 * @property {number} slide_width
 * @property {number} slide_height
 * @property {number} mpp_x µm per level-0 pixel
 * @property {number} mpp_y
 * @property {MaskClass[]} classes
 * @property {boolean} probabilities
 */

/**
 * @typedef {object} Model
 * @property {string} name
 * @property {string} version
 * @property {string} description
 * @property {number} mpp
 * @property {{name: string, color: number[]}[]} classes
 */

/**
 * @typedef {object} Session
 * @property {boolean} key_needed
 * @property {boolean} signed_in
 * @property {string} name
 * @property {string} owner
 * @property {string[]} scopes
 * @property {string} csrf_token
 */

/** @typedef {{id: number, kind: string, data: Record<string, any>}} ServerEvent */

export {};
