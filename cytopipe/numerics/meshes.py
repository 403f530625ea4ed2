"""Triangle meshes: the only module that uses open3d and pymeshlab (GPL-3), loaded on first use.

A mesh is a pair of arrays: vertices (v, 3) in mm and faces (f, 3) of vertex numbers. The normals of
the faces point outwards by the right-hand rule. All functions are single-threaded and
deterministic.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

Vertices = NDArray[np.float64]
Faces = NDArray[np.int32]


def marching_cubes(field: NDArray[np.float32], level: float) -> tuple[Vertices, Faces]:
    """Isosurface in voxel indices, with normals towards smaller values (Lewiner et al. 2003)."""
    from skimage import measure

    vertices, faces, _, _ = measure.marching_cubes(
        field, level, method="lewiner", allow_degenerate=False
    )
    vertices, faces = vertices.astype(np.float64), faces.astype(np.int32)
    return vertices, faces if signed_volume(vertices, faces) > 0 else flipped(faces)


def flipped(faces: Faces) -> Faces:
    """The faces with their normals reversed."""
    return np.ascontiguousarray(faces[:, ::-1])


def signed_volume(vertices: Vertices, faces: Faces) -> float:
    """Volume enclosed by a closed mesh, positive if its normals point outwards."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)


def edges(faces: Faces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Undirected edges (e, 2), smaller vertex first, and the number of faces (e,) at each."""
    pairs = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1).astype(np.int64)
    keys, counts = np.unique(pairs[:, 0] * (faces.max() + 1) + pairs[:, 1], return_counts=True)
    return np.stack(np.divmod(keys, faces.max() + 1), axis=1), counts


def edge_lengths(vertices: Vertices, faces: Faces) -> NDArray[np.float64]:
    """Length of each undirected edge."""
    pairs, _ = edges(faces)
    return np.asarray(np.linalg.norm(vertices[pairs[:, 0]] - vertices[pairs[:, 1]], axis=1))


def area(vertices: Vertices, faces: Faces) -> float:
    """Area of all faces."""
    return float(np.linalg.norm(_face_normals(vertices, faces), axis=1).sum() / 2)


def euler_number(faces: Faces) -> int:
    """Vertices in use - edges + faces: 2 for a sphere, 2 less for each handle."""
    pairs, _ = edges(faces)
    return len(np.unique(faces)) - len(pairs) + len(faces)


def component_labels(faces: Faces) -> NDArray[np.int32]:
    """Number of each face's component, from 0; faces that share a vertex are connected."""
    _, labels = csgraph.connected_components(_links(faces, int(faces.max()) + 1), directed=False)
    _, dense = np.unique(labels[faces[:, 0]], return_inverse=True)
    return np.asarray(dense, np.int32)


def largest_component(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """The component with the most faces, its vertices renumbered."""
    labels = component_labels(faces)
    kept = faces[labels == np.bincount(labels).argmax()]
    used, renumbered = np.unique(kept, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3).astype(np.int32)


def is_closed_manifold(faces: Faces) -> bool:
    """Whether each edge joins two consistently oriented faces and each vertex has one fan."""
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    size = int(faces.max()) + 1
    keys = directed[:, 0] * size + directed[:, 1]
    order = np.argsort(keys)
    reverse = directed[:, 1] * size + directed[:, 0]
    if (np.diff(keys[order]) == 0).any() or not np.array_equal(np.sort(reverse), keys[order]):
        return False
    # crossing an edge leads from one corner of a fan to the next
    partner = order[np.searchsorted(keys[order], reverse)]
    corner = np.arange(len(keys))
    following = corner // 3 * 3 + (corner + 1) % 3
    graph = sparse.coo_matrix(
        (np.ones(len(keys)), (corner, following[partner])), (len(keys), len(keys))
    )
    fans, _ = csgraph.connected_components(graph, directed=False)
    return bool(fans == len(np.unique(faces)))


def _face_normals(vertices: Vertices, faces: Faces) -> NDArray[np.float64]:
    """Normals (f, 3) whose length is twice the area of the face."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return np.asarray(np.cross(b - a, c - a))


def vertex_normals(vertices: Vertices, faces: Faces) -> NDArray[np.float64]:
    """Unit normals (v, 3): the mean normal of the adjacent faces, weighted by area."""
    weights = np.repeat(_face_normals(vertices, faces), 3, axis=0).T
    summed = np.stack([np.bincount(faces.ravel(), w, len(vertices)) for w in weights], axis=1)
    return np.asarray(summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-30))


def mean_curvature(vertices: Vertices, faces: Faces) -> NDArray[np.float64]:
    """Mean curvature (v,) in 1/mm, positive where the surface bulges outwards (1/r on a sphere).

    The cotangent Laplacian of Meyer et al. 2003 over a third of the adjacent area. It is noisy.
    """
    size = len(vertices)
    weights = sparse.csr_matrix((size, size))
    for corner in range(3):
        at, left, right = (faces[:, (corner + step) % 3] for step in range(3))
        u, v = vertices[left] - vertices[at], vertices[right] - vertices[at]
        cross = np.linalg.norm(np.cross(u, v), axis=1)
        cotangent = (u * v).sum(1) / np.maximum(cross, 1e-12)
        weights += sparse.coo_matrix((cotangent / 2, (left, right)), (size, size)).tocsr()
    weights = weights + weights.T
    pull = weights @ vertices - vertices * np.asarray(weights.sum(1))
    twice_areas = np.linalg.norm(_face_normals(vertices, faces), axis=1)
    third = np.bincount(faces.ravel(), np.repeat(twice_areas / 6, 3), size).astype(np.float64)
    normals = vertex_normals(vertices, faces)
    return np.asarray(-(pull * normals).sum(1) / (2 * np.maximum(third, 1e-12)))


def smooth_map(values: NDArray[np.float64], faces: Faces, rounds: int) -> NDArray[np.float64]:
    """Average a map (v,) `rounds` times over each vertex and its neighbours; NaN stays NaN."""
    average = _average(faces, len(values))
    known = np.isfinite(values)
    if not known.all():
        for _ in range(rounds):
            mean = average @ np.where(known, values, 0) / np.maximum(average @ known, 1e-9)
            values = np.where(known, mean, np.nan)
        return np.asarray(values)
    for _ in range(rounds):
        values = average @ values
    return np.asarray(values)


def fair(vertices: Vertices, faces: Faces, rounds: int) -> Vertices:
    """Smooth the vertices without shrinkage (Taubin, SIGGRAPH 1995, with 0.5 and -0.53)."""
    average = _average(faces, len(vertices))
    for _ in range(rounds):
        for share in (0.5, -0.53):
            vertices = vertices + share * (average @ vertices - vertices)
    return vertices


def _links(faces: Faces, size: int) -> sparse.coo_matrix:
    """Matrix with 1 at each undirected edge."""
    pairs, _ = edges(faces)
    return sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (size, size))


def _average(faces: Faces, size: int) -> sparse.csr_matrix:
    """Matrix that averages over each vertex and its neighbours."""
    links = _links(faces, size)
    around = (links + links.T + sparse.identity(size)).tocsr()
    return sparse.diags(1 / np.asarray(around.sum(1)).ravel()) @ around


def poisson(vertices: Vertices, faces: Faces, depth: int) -> tuple[Vertices, Faces]:
    """Poisson reconstruction (Kazhdan & Hoppe 2013) from the vertices and normals of a mesh.

    Parameters
    ----------
    depth : each edge of the bounding cube, which is a tenth larger than the mesh, is divided into
        2**depth parts.
    """
    import open3d

    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(vertices))
    cloud.normals = open3d.utility.Vector3dVector(vertex_normals(vertices, faces))
    # with several threads the order of summation would change from run to run
    mesh, _ = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(
        cloud, depth=depth, n_threads=1
    )
    return _arrays(mesh)


def remesh(
    vertices: Vertices, faces: Faces, edge_mm: float, iterations: int
) -> tuple[Vertices, Faces]:
    """Isotropic explicit remeshing to edges of `edge_mm` (MeshLab; Hoppe et al. 1993)."""
    import pymeshlab

    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(vertices, faces))
    # vertices are projected onto the surface in any case; checking each change's distance to it
    # takes 20 to 40 % of the time and changes almost nothing
    meshes.meshing_isotropic_explicit_remeshing(
        iterations=iterations, targetlen=pymeshlab.PureValue(edge_mm), checksurfdist=False
    )
    mesh = meshes.current_mesh()
    return mesh.vertex_matrix().astype(np.float64), mesh.face_matrix().astype(np.int32)


def distance_to_surface(
    points: NDArray[np.float64], vertices: Vertices, faces: Faces
) -> NDArray[np.float64]:
    """Unsigned distance (n,) of points (n, 3) to a mesh."""
    scene, query = _scene_and_query(points, vertices, faces)
    return np.asarray(scene.compute_distance(query, nthreads=1).numpy(), np.float64)


def nearest_faces(
    points: NDArray[np.float64], vertices: Vertices, faces: Faces
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Unsigned distance (n,) of points (n, 3) to a mesh, and the nearest face (n,)."""
    scene, query = _scene_and_query(points, vertices, faces)
    closest = scene.compute_closest_points(query, nthreads=1)
    distances = np.linalg.norm(closest["points"].numpy() - query.numpy(), axis=1)
    return distances.astype(np.float64), closest["primitive_ids"].numpy().astype(np.int64)


def _scene_and_query(
    points: NDArray[np.float64], vertices: Vertices, faces: Faces
) -> tuple[Any, Any]:
    import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    tensor = open3d.core.Tensor
    scene.add_triangles(tensor(vertices.astype(np.float32)), tensor(faces.astype(np.uint32)))
    return scene, tensor(np.asarray(points, np.float32))


def decimate(vertices: Vertices, faces: Faces, most_faces: int) -> tuple[Vertices, Faces]:
    """Reduce a mesh to about `most_faces` triangles by quadric errors (Garland & Heckbert 1997)."""
    import open3d

    if len(faces) <= most_faces:
        return vertices, faces
    mesh = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(vertices), open3d.utility.Vector3iVector(faces)
    ).simplify_quadric_decimation(most_faces)
    return _arrays(mesh)


def _arrays(mesh: Any) -> tuple[Vertices, Faces]:
    return np.asarray(mesh.vertices).astype(np.float64), np.asarray(mesh.triangles).astype(np.int32)


def nearest_vertices(points: NDArray[np.float64], vertices: Vertices) -> NDArray[np.int64]:
    """Number (n,) of the vertex nearest to each point (n, 3)."""
    from scipy.spatial import KDTree

    return np.asarray(KDTree(vertices).query(points)[1], np.int64)
