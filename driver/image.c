/* SPDX-License-Identifier: MIT */
/* image.c: what the device does not have. Images and samplers are refused, as its properties say;
 * there is no fabric, so there is nothing on it.
 */
#include "ddi.h"

const struct ddi_table image_table =
    DDI_TABLE(DDI_UNSUPPORTED(0, 0), DDI_UNSUPPORTED(1, 0), DDI_UNSUPPORTED(2, 0),
              DDI_UNSUPPORTED(3, 3), DDI_UNSUPPORTED(4, 5));
const struct ddi_table image_exp_table =
    DDI_TABLE(DDI_UNSUPPORTED(0, 2), DDI_UNSUPPORTED(1, 2), DDI_UNSUPPORTED(2, 9));
const struct ddi_table sampler_table = DDI_TABLE(DDI_UNSUPPORTED(0, 0), DDI_UNSUPPORTED(1, 0));

static ze_result_t fabric_vertex_get(ze_driver_handle_t driver, uint32_t *count,
                                     ze_fabric_vertex_handle_t *vertices)
{
    ENTER(zeFabricVertexGetExp);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(count);
    (void)vertices;
    *count = 0;
    return ZE_RESULT_SUCCESS;
}

const struct ddi_table fabric_vertex_exp_table =
    DDI_TABLE(DDI(ze_fabric_vertex_exp_dditable_t, pfnGetExp, 4, fabric_vertex_get),
              DDI_UNSUPPORTED(1, 4), DDI_UNSUPPORTED(2, 4), DDI_UNSUPPORTED(3, 4));
const struct ddi_table fabric_edge_exp_table =
    DDI_TABLE(DDI_UNSUPPORTED(0, 4), DDI_UNSUPPORTED(1, 4), DDI_UNSUPPORTED(2, 4));
